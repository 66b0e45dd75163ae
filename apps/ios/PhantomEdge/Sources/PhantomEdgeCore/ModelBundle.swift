import Foundation

/// The three graphs of a bundle.
public enum Graph: String, CaseIterable, Sendable {
    case visionEncoder = "vision_encoder"
    case tokenEmbedding = "token_embedding"
    case textDecoder = "text_decoder"
}

/// A folder that `phantom-edge export` wrote: its manifest and its files.
public struct ModelBundle: Sendable {
    public static let manifestName = "manifest.json"
    public static let tokenizerName = "tokenizer.json"
    public static let goldenName = "golden.safetensors"
    static let manifestLimit = 16 << 20

    public let folder: URL
    public let manifest: Manifest

    /// Reads the manifest and, unless `verify` is false, compares the size and SHA-256 of every file with it.
    ///
    /// Hashing takes about a second per gigabyte. Do it once after a download, not at every start.
    ///
    /// Throws `PhantomEdgeError.bundle` for a folder that is no bundle, and for a file that is missing, changed or not
    /// listed.
    public init(folder: URL, verify: Bool = true) throws {
        self.folder = folder
        let file = folder.appendingPathComponent(Self.manifestName)
        guard FileManager.default.fileExists(atPath: file.path) else {
            throw PhantomEdgeError.bundle("\(folder.path) has no \(Self.manifestName): give a bundle's folder")
        }
        manifest = try Manifest(json: Self.read(file, limit: Self.manifestLimit))
        if verify { try checkFiles() }
    }

    /// The bundle's recorded inputs and outputs, with tiles of one of its sizes.
    func golden(of tile: Manifest.TileSize) -> URL {
        let name = tile.size == manifest.tiles.size ? Self.goldenName : "golden_\(tile.size).safetensors"
        return folder.appendingPathComponent(name)
    }

    /// Where a graph's artifact lies.
    public func url(of graph: Graph) throws -> URL {
        let path = manifest.graphs[graph]
        guard Manifest.isInside(path) else {
            throw PhantomEdgeError.bundle("manifest.json names \(path), which lies outside the bundle: do not use it")
        }
        return folder.appendingPathComponent(path)
    }

    /// Bytes of the listed files below `path`, or of the file itself.
    public func bytes(below path: String) -> Int {
        manifest.files.filter { $0.key == path || $0.key.hasPrefix(path + "/") }.reduce(0) { $0 + $1.value.bytes }
    }

    /// The bundle's tokenizer.
    public func tokenizer() throws -> Tokenizer {
        let file = folder.appendingPathComponent(Self.tokenizerName)
        return try Tokenizer(json: Self.read(file, limit: Tokenizer.fileLimit))
    }

    /// Throws `PhantomEdgeError.bundle` naming the first file that is missing, changed or not listed.
    public func checkFiles() throws {
        for (name, entry) in manifest.files.sorted(by: { $0.key < $1.key }) {
            let file = folder.appendingPathComponent(name)
            guard let size = Self.size(of: file) else {
                throw PhantomEdgeError.bundle("\(name) is missing from the bundle: copy all of it again")
            }
            guard size == entry.bytes, try FileDigest.sha256(of: file) == entry.sha256 else {
                throw PhantomEdgeError.bundle("\(name) is not the file that was exported: copy the bundle again")
            }
        }
        if let extra = try listing().first(where: { $0 != Self.manifestName && manifest.files[$0] == nil }) {
            throw PhantomEdgeError.bundle("\(extra) is not listed in the bundle's manifest: remove it")
        }
    }

    /// Contents of a file of at most `limit` bytes.
    static func read(_ file: URL, limit: Int) throws -> Data {
        guard let size = size(of: file) else {
            throw PhantomEdgeError.bundle("\(file.lastPathComponent) is missing from the bundle: copy all of it again")
        }
        guard size <= limit else {
            throw PhantomEdgeError.bundle(
                "\(file.lastPathComponent) is over \(limit >> 20) MiB: export the bundle again")
        }
        return try Data(contentsOf: file, options: .mappedIfSafe)
    }

    /// Size of a regular file that is no link; nil for anything else.
    static func size(of file: URL) -> Int? {
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: file.path),
            attributes[.type] as? FileAttributeType == .typeRegular
        else { return nil }
        return (attributes[.size] as? NSNumber)?.intValue
    }

    /// Relative paths of everything in the folder that is no folder, sorted.
    private func listing() throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: folder.path).filter { path in
            var isFolder: ObjCBool = false
            let full = folder.appendingPathComponent(path).path
            return !(FileManager.default.fileExists(atPath: full, isDirectory: &isFolder) && isFolder.boolValue)
        }.sorted()
    }
}
