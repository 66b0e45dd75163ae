import PhantomARCore
import SwiftUI

/// What the model is, where it runs, how finely it looks, the longest answer, the self-test, the notices.
struct InfoView: View {
    @Bindable var app: AppModel
    @Environment(\.dismiss) private var dismiss

    var body: some View {
        NavigationStack {
            Form {
                Section("Model") {
                    ForEach(app.info?.facts ?? [], id: \.name) { fact in
                        LabeledContent(fact.name, value: fact.value)
                    }
                    if !app.details.isEmpty {
                        Picker("Picture detail", selection: detail) {
                            ForEach(app.details, id: \.size) { Text($0.name).tag($0.size) }
                        }
                        .disabled(app.isTesting)
                        .accessibilityIdentifier("picture-detail")
                    }
                    Picker("Longest answer", selection: $app.maxTokens) {
                        ForEach(lengths, id: \.self) { Text("\($0) tokens").tag($0) }
                    }
                }
                Section("Recorded answers, on this device") {
                    ForEach(app.checks, id: \.name) { CheckLine(row: $0) }
                    Button(app.isTesting ? "Running …" : "Run self-test") { Task { await app.selfTest() } }
                        .disabled(!app.isReady || app.isTesting)
                        .accessibilityIdentifier("self-test")
                }
                Section {
                    NavigationLink("Notices of third parties") { NoticesView() }
                    Text("Pictures, questions and answers stay on this device.").font(.footnote)
                }
            }
            .navigationTitle("About the model")
            .toolbar { Button("Done") { dismiss() } }
        }
    }

    private var detail: Binding<Int> {
        Binding {
            app.tileSize ?? 0
        } set: { size in
            Task { await app.choose(tileSize: size) }
        }
    }

    private var lengths: [Int] { Set([16, 32, 64, 128, 256, app.config.longestAnswer]).sorted() }
}

private struct CheckLine: View {
    let row: CheckRow

    var body: some View {
        LabeledContent {
            Text(row.passed ? "passed" : "failed").foregroundStyle(row.passed ? Theme.accent : Theme.warn)
        } label: {
            Text(row.name)
            Text("\(row.measured), limit \(row.limit)").font(.footnote)
        }
        .accessibilityElement(children: .combine)
        .accessibilityIdentifier("check")
    }
}

private struct NoticesView: View {
    var body: some View {
        ScrollView { Text(text).font(.footnote).padding() }
            .navigationTitle("Notices")
    }

    private var text: String {
        let file = Bundle.main.url(forResource: "THIRD_PARTY_NOTICES", withExtension: "txt")
        let notices = file.flatMap { try? String(contentsOf: $0, encoding: .utf8) }
        return notices ?? localized("This copy of the app has no notices.")
    }
}
