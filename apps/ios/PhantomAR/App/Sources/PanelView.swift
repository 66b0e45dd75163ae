import PhantomARCore
import SwiftUI

/// Questions to choose from with their last answers, a question of one's own, the meters, pause.
struct PanelView: View {
    let app: AppModel
    let isWide: Bool
    @State private var own = ""
    @ScaledMetric private var cardWidth: CGFloat = 184

    var body: some View {
        VStack(alignment: .leading, spacing: 12) {
            HStack {
                Text(isWide ? app.config.title : localized("Questions"))
                    .font((isWide ? Font.body : .subheadline).weight(.semibold))
                    .accessibilityAddTraits(.isHeader)
                Spacer()
                Button("Ask all", action: app.askAll)
                    .disabled(!app.isReady)
                    .frame(minHeight: 44)
            }
            presets
            ask
            HStack(spacing: 12) {
                meters
                pause
            }
        }
        .padding(14)
        .frame(maxHeight: isWide ? .infinity : nil)
        .background(Theme.panel.ignoresSafeArea(edges: [.bottom, .trailing]))
    }

    private var presets: some View {
        ScrollView(isWide ? .vertical : .horizontal, showsIndicators: false) {
            let layout = isWide ? AnyLayout(VStackLayout(spacing: 10)) : AnyLayout(HStackLayout(spacing: 10))
            layout {
                ForEach(Array(app.config.presets.enumerated()), id: \.offset) { number, preset in
                    let question = preset.question
                    let isChosen = question == app.question
                    PresetCard(question: app.shown(question), answer: app.answers[question], isChosen: isChosen) {
                        app.choose(question)
                    }
                    .frame(width: isWide ? nil : cardWidth)
                    .disabled(!app.isReady)
                    .accessibilityIdentifier("preset-\(number)")
                }
            }
        }
    }

    private var ask: some View {
        HStack(spacing: 8) {
            TextField("Ask your own question", text: $own)
                .submitLabel(.send)
                .onSubmit(send)
                .padding(.horizontal, 14)
                .frame(minHeight: 46)
                .background(Theme.ground)
                .clipShape(RoundedRectangle(cornerRadius: 12))
                .accessibilityIdentifier("question")
            Button("Ask", action: send)
                .font(.body.weight(.bold))
                .frame(minWidth: 72, minHeight: 46)
                .background(app.isReady ? Theme.accent : Theme.raised)
                .foregroundStyle(app.isReady ? Theme.onAccent : Theme.faint)
                .clipShape(RoundedRectangle(cornerRadius: 12))
                .disabled(!app.isReady)
        }
    }

    private var meters: some View {
        HStack(alignment: .top, spacing: 8) {
            Meter(name: "First token", value: app.speed.firstToken > 0 ? Numbers.seconds(app.speed.firstToken) : "–")
            Meter(name: "Speed", value: app.speed.rate > 0 ? Numbers.perSecond(app.speed.rate) : "–")
            Meter(name: "Memory", value: app.memory > 0 ? Numbers.megabytes(app.memory) : "–")
        }
    }

    private var pause: some View {
        Button(action: app.togglePause) {
            Label(app.isPaused ? "Resume" : "Pause", systemImage: app.isPaused ? "play.fill" : "pause.fill")
                .font(.body.weight(.bold))
                .frame(minWidth: 104, minHeight: 46)
        }
        .background(app.canPause ? Theme.ink : Theme.raised)
        .foregroundStyle(app.canPause ? Theme.ground : Theme.faint)
        .clipShape(RoundedRectangle(cornerRadius: 12))
        .disabled(!app.canPause)
        .accessibilityIdentifier("pause")
    }

    private func send() {
        app.choose(own)
        own = ""
    }
}

private struct PresetCard: View {
    let question: String
    let answer: Verdict?
    let isChosen: Bool
    let action: () -> Void

    var body: some View {
        Button(action: action) {
            VStack(alignment: .leading, spacing: 2) {
                Text(question)
                    .font(.footnote)
                    .foregroundStyle(Theme.faint)
                    .lineLimit(2)
                    .multilineTextAlignment(.leading)
                Text(answer?.text ?? "–")
                    .font(.subheadline.weight(.semibold))
                    .lineLimit(1)
                Spacer(minLength: 0)
            }
            .padding(9)
            .frame(maxWidth: .infinity, minHeight: 74, alignment: .topLeading)
            .background(Theme.raised)
            .overlay {
                RoundedRectangle(cornerRadius: 12)
                    .strokeBorder(isChosen ? Theme.accent : Theme.line, lineWidth: isChosen ? 2 : 1)
            }
            .clipShape(RoundedRectangle(cornerRadius: 12))
        }
        .foregroundStyle(Theme.ink)
        .accessibilityLabel(question)
        .accessibilityValue(answer?.spoken ?? localized("no answer yet"))
        .accessibilityAddTraits(isChosen ? .isSelected : [])
    }
}

/// Columns of one width: numbers that grow push nothing aside.
private struct Meter: View {
    let name: LocalizedStringKey
    let value: String

    var body: some View {
        VStack(alignment: .leading, spacing: 2) {
            Text(name)
                .font(.caption)
                .foregroundStyle(Theme.faint)
            Text(value)
                .font(.subheadline.weight(.semibold).monospacedDigit())
        }
        .lineLimit(1)
        .minimumScaleFactor(0.8)
        .frame(maxWidth: .infinity, alignment: .leading)
        .accessibilityElement(children: .combine)
    }
}
