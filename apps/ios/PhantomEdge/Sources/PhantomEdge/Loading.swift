#if canImport(CoreML)
    import Foundation
    import PhantomEdgeCore

    extension PhantomSession {
        /// Opens a bundle in Core ML.
        ///
        ///     let session = try await PhantomSession.load(folder)
        ///     let chat = session.chat(about: try RGBImage(contentsOf: photo))
        ///     for try await piece in chat.ask("What colour is it?") { print(piece, terminator: "") }
        ///
        /// `tileSize` is the side in pixels of one of the bundle's `manifest.tileSizes`, nil its default. `verify` compares
        /// every file's SHA-256 with the manifest: once after a download is enough. Throws `PhantomEdgeError`, of kind
        /// `memory` when the system has no room for the model, of kind `input` for a size that the bundle lacks.
        public static func load(
            _ folder: URL, tileSize: Int? = nil, verify: Bool = true, options: CoreMLOptions = CoreMLOptions(),
            pacing: Pacing = Pacing()
        ) async throws -> PhantomSession {
            let bundle = try await Task.detached { try ModelBundle(folder: folder, verify: verify) }.value
            if let tileSize { _ = try bundle.manifest.tileSize(tileSize) }  // before the model is compiled
            let conditions = AppleConditions()
            try checkMemory(for: bundle, conditions)
            let backend = try await CoreMLBackend(bundle, options: options)
            return try PhantomSession(
                bundle: bundle, backend: backend, conditions: conditions, pacing: pacing, tileSize: tileSize)
        }
    }
#endif
