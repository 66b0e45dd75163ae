import PhantomARCore
import PhantomEdge
import SwiftUI

@main
struct PhantomARApp: App {
    var body: some Scene {
        WindowGroup {
            if BenchmarkApp.isAsked {
                Text(verbatim: "phantom-edge bench").task { await BenchmarkApp.run() }
            } else {
                Opening()
            }
        }
    }
}

/// The app, or what is wrong with its settings.
@MainActor private struct Opening: View {
    @State private var started: Result<AppModel, any Error>

    init() {
        do {
            _started = State(initialValue: .success(try Launch.model()))
        } catch {
            _started = State(initialValue: .failure(error))
        }
    }

    var body: some View {
        switch started {
        case .success(let app): MainView(app: app)
        case .failure(let error): SettingsFailure(failure: Failure(error))
        }
    }
}

private struct SettingsFailure: View {
    let failure: Failure

    var body: some View {
        VStack(spacing: 10) {
            Text(failure.title).font(.headline)
            Text(failure.message).multilineTextAlignment(.center)
        }
        .padding()
        .frame(maxWidth: .infinity, maxHeight: .infinity)
        .background(Theme.ground)
        .foregroundStyle(Theme.ink)
    }
}
