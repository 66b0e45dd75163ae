import Foundation

/// A bundle with what runs it. One session serves any number of chats, one after the other or side by side.
///
///     let session = try await PhantomSession.load(folder)
///     let chat = session.chat(about: picture)
///     for try await piece in chat.ask("What colour is it?") { print(piece, terminator: "") }
public final class PhantomSession: Sendable {
    public let bundle: ModelBundle
    public let tokenizer: Tokenizer
    public let backend: any Backend
    public let conditions: any DeviceConditions
    public let pacing: Pacing
    /// The size of the tiles that pictures are cut into.
    public let tile: Manifest.TileSize
    let forms: Forms

    /// With any backend. `PhantomSession.load` chooses the platform's.
    ///
    /// `tileSize` is the side in pixels of one of `manifest.tileSizes`, nil the bundle's default. Throws
    /// `PhantomEdgeError.input` for another.
    public init(
        bundle: ModelBundle, backend: any Backend, conditions: any DeviceConditions = UnlimitedConditions(),
        pacing: Pacing = Pacing(), tileSize: Int? = nil
    ) throws {
        (self.bundle, self.backend, self.conditions, self.pacing) = (bundle, backend, conditions, pacing)
        tile = try bundle.manifest.tileSize(tileSize ?? bundle.manifest.tiles.size)
        tokenizer = try bundle.tokenizer()
        forms = Forms(bundle.manifest, tokenizer)
    }

    private init(_ session: PhantomSession, tile: Manifest.TileSize) {
        (bundle, backend, tokenizer) = (session.bundle, session.backend, session.tokenizer)
        (conditions, pacing, forms, self.tile) = (session.conditions, session.pacing, session.forms, tile)
    }

    /// The same loaded model with tiles of another of `manifest.tileSizes`: smaller ones cost less time and fewer tokens
    /// of the context, and show less. The vision encoder of the size before is unloaded with the next picture.
    ///
    /// Throws `PhantomEdgeError.input` for a size that the bundle lacks.
    public func atTileSize(_ size: Int) throws -> PhantomSession {
        PhantomSession(self, tile: try manifest.tileSize(size))
    }

    public var manifest: Manifest { bundle.manifest }

    /// A new context, about a picture if one is given.
    ///
    /// `maxTiles` looks less closely, at most as closely as the bundle was exported for: each tile costs a pass of the
    /// vision encoder and `tile.tokens` of the context.
    public func chat(about image: RGBImage? = nil, maxTiles: Int? = nil) -> Chat {
        Chat(session: self, image: image, policy: policy(maxTiles: maxTiles))
    }

    /// How pictures are cut.
    func policy(maxTiles: Int? = nil) -> TilePolicy {
        let most = min(max(maxTiles ?? manifest.tiles.max, 1), manifest.tiles.max)
        return TilePolicy(size: tile.size, max: most, thumbnail: manifest.tiles.thumbnail)
    }

    /// One question on a new context.
    public func generate(
        _ question: String, about image: RGBImage? = nil, options: AnswerOptions = AnswerOptions()
    ) -> AsyncThrowingStream<String, any Error> {
        chat(about: image).ask(question, options: options)
    }

    /// Call it when the system asks for memory.
    public func trim() async { await backend.trim() }

    /// Bytes that a loaded model with one cache takes at most: the artifact's own and the keys and values.
    public static func memoryNeeded(for bundle: ModelBundle) -> Int {
        let paths = Set(Graph.allCases.map { bundle.manifest.graphs[$0] })
        let cacheWidth = bundle.manifest.format == "coreml" ? 2 : 4  // bytes of fp16 and fp32
        return paths.reduce(0) { $0 + bundle.bytes(below: $1) } + bundle.manifest.cacheElements * cacheWidth
    }

    /// Throws `PhantomEdgeError.memory` when the system says that it will not have room. Call it before loading.
    public static func checkMemory(for bundle: ModelBundle, _ conditions: any DeviceConditions) throws {
        let needed = memoryNeeded(for: bundle)
        if let available = conditions.availableMemory, available < needed {
            throw PhantomEdgeError.memory(needed: needed, available: available)
        }
    }

    /// Waits as `pacing` says; false when the device is too warm to go on. Throws `CancellationError`.
    func pace() async throws -> Bool {
        try Task.checkCancellation()
        let level = conditions.thermal
        if let limit = pacing.stopsAt, level >= limit { return false }
        if let pause = pacing.pauses[level] { try await Task.sleep(for: pause) }
        return true
    }

    // --- steps, shared by chats and the self-test

    /// Tiles `[3, S, S]` to image tokens, one tile after the other: `[tiles * N, hidden]`.
    func encode(_ tiles: some Sequence<[Float]>) async throws -> [Float] {
        var rows: [Float] = []
        for tile in tiles {
            try await proceed()
            rows += try await backend.encode(tile: tile)
        }
        return rows
    }

    /// Continues a cache at `position` with ids, in chunks; image tokens take `image`'s rows in order. Gives the logits
    /// of the last. `done` hears after each chunk how many ids the cache holds by then.
    func prefill(
        _ ids: [Int], at position: Int, cache: any DecoderCache, image: [Float] = [],
        isolation: isolated (any Actor)? = #isolation, done: (Int) -> Void = { _ in }
    ) async throws -> [Float] {
        var (start, taken, logits): (Int, Int, [Float]) = (0, 0, [])
        while start < ids.count {
            try await proceed()
            let part = Array(ids[start..<min(start + manifest.chunk, ids.count)])
            logits = try await step(part, at: position + start, cache: cache, image: image, from: taken)
            taken += part.count { $0 == manifest.ids.image }
            start += part.count
            done(position + start)
        }
        return logits
    }

    /// One call of the decoder with at most a chunk of ids; their image tokens take `image`'s rows from `row` on.
    func step(
        _ ids: [Int], at position: Int, cache: any DecoderCache, image: [Float] = [], from row: Int = 0
    ) async throws -> [Float] {
        var embeddings = try await backend.embed(ids)
        let hidden = manifest.shape.hidden
        let places = ids.indices.filter { ids[$0] == manifest.ids.image }
        guard (row + places.count) * hidden <= image.count || places.isEmpty else {
            throw PhantomEdgeError.input("the prompt has more image tokens than the image")
        }
        for (taken, place) in zip(row..., places) {
            let values = image[taken * hidden..<(taken + 1) * hidden]
            embeddings.replaceSubrange(place * hidden..<(place + 1) * hidden, with: values)
        }
        return try await backend.decode(embeddings, at: position, cache: cache)
    }

    private func proceed() async throws {
        guard try await pace() else {
            throw PhantomEdgeError.runtime("the device is too warm: let it cool, then ask again")
        }
    }
}
