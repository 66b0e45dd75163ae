import Foundation

/// What `manifest.json` says about a bundle, as far as an app needs it. Sizes are in tokens unless said otherwise.
public struct Manifest: Decodable, Sendable {
    /// The layout that this library reads.
    public static let schema = 2

    /// One file's size in bytes and its SHA-256 in hex.
    public struct FileEntry: Decodable, Sendable {
        public let bytes: Int
        public let sha256: String
    }

    /// Path of each graph below the bundle's folder.
    public struct Graphs: Decodable, Sendable {
        public let visionEncoder: String
        public let tokenEmbedding: String
        public let textDecoder: String

        private enum CodingKeys: String, CodingKey {
            case visionEncoder = "vision_encoder"
            case tokenEmbedding = "token_embedding"
            case textDecoder = "text_decoder"
        }

        public subscript(graph: Graph) -> String {
            switch graph {
            case .visionEncoder: visionEncoder
            case .tokenEmbedding: tokenEmbedding
            case .textDecoder: textDecoder
            }
        }
    }

    /// A size of tiles: its side in pixels, the tokens of one, and the path of its vision encoder.
    public struct TileSize: Decodable, Equatable, Sendable {
        public let size: Int
        public let tokens: Int
        public let visionEncoder: String

        private enum CodingKeys: String, CodingKey {
            case size, tokens
            case visionEncoder = "vision_encoder"
        }
    }

    /// How a picture becomes tiles: their side in pixels, the tokens of one, and the most of them; and the sizes that
    /// may be chosen instead, nil for none.
    public struct Tiles: Decodable, Sendable {
        public let size: Int
        public let tokens: Int
        public let max: Int
        public let thumbnail: Bool
        public let others: [TileSize]?
    }

    /// Token ids: the folded first token, the place of an image token, and those that end an answer.
    public struct Ids: Decodable, Sendable {
        public let first: Int
        public let image: Int
        public let end: [Int]
    }

    /// The decoder's dimensions; `cacheWidths` has one entry per layer.
    public struct Shape: Decodable, Sendable {
        public let hidden: Int
        public let vocabulary: Int
        public let layers: Int
        public let kvHeads: Int
        public let cacheWidths: [Int]

        private enum CodingKeys: String, CodingKey {
            case hidden, vocabulary, layers
            case kvHeads = "kv_heads"
            case cacheWidths = "cache_widths"
        }
    }

    public let target: String
    public let format: String
    /// What the model knows, in one sentence of its own; nil where it does not say.
    public let knows: String?
    public let graphs: Graphs
    public let prompt: PromptTemplate
    public let tiles: Tiles
    public let ids: Ids
    public let shape: Shape
    /// Length of the KV cache.
    public let context: Int
    /// The most tokens that one call of the decoder takes.
    public let chunk: Int
    public let files: [String: FileEntry]

    /// Elements of all keys and values that the cache of one sequence holds.
    public var cacheElements: Int {
        2 * shape.kvHeads * context * shape.cacheWidths.reduce(0, +)
    }

    /// Throws `PhantomEdgeError.bundle` for a manifest that is incomplete, contradictory or newer than this library.
    public init(json: Data) throws {
        struct Version: Decodable { let schema: Int }
        guard let version = try? JSONDecoder().decode(Version.self, from: json), version.schema >= 1 else {
            throw PhantomEdgeError.bundle("manifest.json is not the manifest of a phantom-edge bundle")
        }
        guard version.schema <= Self.schema else {
            throw PhantomEdgeError.bundle(
                "the bundle's schema \(version.schema) is newer than this app reads (\(Self.schema)): update the app")
        }
        guard version.schema == Self.schema else {
            throw PhantomEdgeError.bundle(
                "the bundle's schema \(version.schema) is of an earlier phantom-edge, this app reads \(Self.schema): "
                    + "export it again")
        }
        do {
            self = try JSONDecoder().decode(Manifest.self, from: json)
        } catch let error as DecodingError {
            throw PhantomEdgeError.bundle("manifest.json\(error.complaint): export the bundle again")
        }
        try check()
    }

    private func check() throws {
        let sizes = [
            "tiles.size": tiles.size, "tiles.tokens": tiles.tokens, "tiles.max": tiles.max, "context": context,
            "chunk": chunk, "shape.hidden": shape.hidden, "shape.vocabulary": shape.vocabulary,
            "shape.layers": shape.layers, "shape.kv_heads": shape.kvHeads,
        ]
        let others = (tiles.others ?? []).flatMap {
            [("tiles.others.size", $0.size), ("tiles.others.tokens", $0.tokens)]
        }
        for (name, size) in sizes.map({ ($0.key, $0.value) }) + others where !(1...1 << 24).contains(size) {
            throw PhantomEdgeError.bundle(
                "manifest.json: \(name) is not a size from 1 to \(1 << 24): export the bundle again")
        }
        guard knows.map(Self.isSentence) ?? true else {
            throw PhantomEdgeError.bundle(
                "manifest.json: knows is not a sentence of up to 200 characters: export the bundle again")
        }
        let ids = [self.ids.first, self.ids.image] + self.ids.end
        let widthsFit = shape.cacheWidths.count == shape.layers && shape.cacheWidths.allSatisfy { $0 > 0 }
        guard widthsFit, !self.ids.end.isEmpty, ids.allSatisfy({ (0..<shape.vocabulary).contains($0) }) else {
            throw PhantomEdgeError.bundle("manifest.json contradicts itself: export the bundle again")
        }
        for name in files.keys where !Self.isInside(name) {
            throw PhantomEdgeError.bundle("manifest.json names \(name), which lies outside the bundle: do not use it")
        }
    }

    /// Whether a text is a line of 1 to 200 characters.
    static func isSentence(_ text: String) -> Bool {
        let scalars = text.unicodeScalars
        return (1...200).contains(scalars.count) && scalars.allSatisfy { $0.properties.generalCategory != .control }
    }

    /// Whether a relative path stays below the folder that it starts from.
    static func isInside(_ path: String) -> Bool {
        !path.isEmpty && !path.hasPrefix("/") && !path.split(separator: "/").contains("..")
    }
}

extension Manifest {
    /// Every size of tiles that may be chosen, the default first.
    public var tileSizes: [TileSize] {
        [TileSize(size: tiles.size, tokens: tiles.tokens, visionEncoder: graphs.visionEncoder)] + (tiles.others ?? [])
    }

    /// One of `tileSizes` by its side in pixels. Throws `PhantomEdgeError.input`, which names those that there are.
    public func tileSize(_ size: Int) throws -> TileSize {
        if let chosen = tileSizes.first(where: { $0.size == size }) { return chosen }
        let sizes = tileSizes.map { String($0.size) }.joined(separator: ", ")
        throw PhantomEdgeError.input("the bundle has no tiles of \(size) pixels: choose one of its sizes, \(sizes)")
    }

    /// The size of a tile `[3, S, S]` of so many values. Throws as `tileSize` does.
    public func tileSize(ofValues count: Int) throws -> TileSize {
        if let chosen = tileSizes.first(where: { 3 * $0.size * $0.size == count }) { return chosen }
        let shapes = tileSizes.map { "3x\($0.size)x\($0.size)" }.joined(separator: " or ")
        throw PhantomEdgeError.input("a tile has \(count) values, not \(shapes)")
    }
}

extension DecodingError {
    /// What is wrong with which field, to follow the file's name.
    fileprivate var complaint: String {
        func path(_ keys: [any CodingKey]) -> String { keys.map(\.stringValue).joined(separator: ".") }
        switch self {
        case .keyNotFound(let key, let context): return " lacks \(path(context.codingPath + [key]))"
        case .valueNotFound(_, let context): return " lacks \(path(context.codingPath))"
        case .typeMismatch(let type, let context): return ": \(path(context.codingPath)) is not of type \(type)"
        // Foundation for Linux does not say which number it is that has a fraction.
        case .dataCorrupted(let context): return ": \(path(context.codingPath)) is not a whole number"
        @unknown default: return " is damaged"
        }
    }
}
