import Foundation
import PhantomARCore
import PhantomEdge

/// Loading the bundle into Core ML, step by step so that the user sees how far it is.
enum CoreMLEngine {
    private static let checked = "checkedBundle"

    static func load(
        _ folder: URL, _ sampling: Sampling, _ onStep: @escaping OnStep
    ) async throws -> PhantomEngine {
        let start = Date()
        await onStep(LoadingStep(localized("Checking the model's files"), part: 0.05))
        let bundle = try await opened(folder)
        let conditions = AppleConditions()
        try PhantomSession.checkMemory(for: bundle, conditions)
        await onStep(LoadingStep(localized("Preparing the model for this device"), part: 0.35))
        let backend = try await CoreMLBackend(bundle)
        await onStep(LoadingStep(localized("Loading the model"), part: 0.7))
        let remembered = TileSizeStore.defaults.read()
        let size = bundle.manifest.tileSizes.map(\.size).first { $0 == remembered }
        try await backend.prepare(tileSize: size)
        let session = try PhantomSession(
            bundle: bundle, backend: backend, conditions: conditions, pacing: Pacing(), tileSize: size)
        await onStep(LoadingStep(localized("Ready"), part: 1))
        return PhantomEngine(session, loading: Date().timeIntervalSince(start), sampling: sampling)
    }

    /// The bundle, its files compared with the manifest's SHA-256 once for each model that the app has carried.
    private static func opened(_ folder: URL) async throws -> ModelBundle {
        try await Task.detached(priority: .userInitiated) {
            let bundle = try ModelBundle(folder: folder, verify: false)
            let digests = bundle.manifest.files.sorted { $0.key < $1.key }.map { $0.value.sha256 }.joined()
            if UserDefaults.standard.string(forKey: checked) != digests {
                try bundle.checkFiles()
                UserDefaults.standard.set(digests, forKey: checked)
            }
            return bundle
        }.value
    }
}
