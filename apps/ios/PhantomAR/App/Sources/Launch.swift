import Foundation
import PhantomARCore
import PhantomEdge

/// What the app is started with. `-engine fake` answers without a model and shows a drawn picture instead of a camera,
/// so that UI tests run anywhere; UserDefaults reads such arguments.
enum Launch {
    static var isFake: Bool { UserDefaults.standard.string(forKey: "engine") == "fake" }

    static var bundleFolder: URL {
        (Bundle.main.resourceURL ?? Bundle.main.bundleURL).appendingPathComponent("bundle", isDirectory: true)
    }

    /// Whether the first screen is to be shown; `-welcome YES` shows it again.
    static var welcomes: Bool {
        let defaults = UserDefaults.standard
        return defaults.bool(forKey: "welcome") || !(isFake || defaults.bool(forKey: "welcomed"))
    }

    static func hasWelcomed() { UserDefaults.standard.set(true, forKey: "welcomed") }

    /// What the model knows, in a sentence of its bundle; nil where it says nothing.
    static var knows: String? { (try? ModelBundle(folder: bundleFolder, verify: false))?.manifest.knows }

    static let config = Result { try AppConfig(contentsOf: Bundle.main.url(forResource: "app", withExtension: "json")) }

    @MainActor static func model() throws -> AppModel {
        let config = try config.get()
        let fake = isFake
        let load: EngineLoader = { onStep in
            if fake { return try await FakeEngine.load(onStep) }
            return try await CoreMLEngine.load(bundleFolder, config.sampling, onStep)
        }
        return AppModel(
            config: config, conditions: AppleConditions(), tileSizes: fake ? .none : .defaults,
            memory: { Memory.footprint() }, load: load)
    }
}
