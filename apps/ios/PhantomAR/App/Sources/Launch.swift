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

    @MainActor static func model() throws -> AppModel {
        let config = try AppConfig(contentsOf: Bundle.main.url(forResource: "app", withExtension: "json"))
        let fake = isFake
        let load: EngineLoader = { onStep in
            if fake { return try await FakeEngine.load(onStep) }
            return try await CoreMLEngine.load(bundleFolder, onStep)
        }
        return AppModel(
            config: config, conditions: AppleConditions(), tileSizes: fake ? .none : .defaults,
            memory: { Memory.footprint() }, load: load)
    }
}
