import Foundation

/// The folders of an update: `NAME.update` beside the bundle, with what was fetched so far by digest and the new bundle as
/// far as it is, and `NAME.previous`, the old one within the exchange.
struct UpdatePlace: Sendable {
    let staging: URL
    private let folder: URL
    private let bundle: URL
    private let parts: URL
    private let previous: URL

    init(_ folder: URL) {
        self.folder = folder
        let (name, parent) = (folder.lastPathComponent, folder.deletingLastPathComponent())
        staging = parent.appendingPathComponent("\(name).update", isDirectory: true)
        previous = parent.appendingPathComponent("\(name).previous", isDirectory: true)
        bundle = staging.appendingPathComponent("bundle", isDirectory: true)
        parts = staging.appendingPathComponent("parts", isDirectory: true)
    }

    func staged(_ name: String) -> URL { bundle.appendingPathComponent(name) }

    func part(_ digest: String) -> URL { parts.appendingPathComponent(digest) }

    /// Whether the new bundle is all there. Its manifest comes last.
    func isComplete(_ manifest: Data) -> Bool { (try? Data(contentsOf: staged(ModelBundle.manifestName))) == manifest }

    /// Makes the folders, and removes what an earlier update had and this one does not.
    func prepare(_ names: Set<String>) throws {
        try? FileManager.default.removeItem(at: staged(ModelBundle.manifestName))
        for made in [bundle, parts] {
            try FileManager.default.createDirectory(at: made, withIntermediateDirectories: true)
        }
        for name in Self.contents(of: bundle) where !names.contains(name) {
            try FileManager.default.removeItem(at: staged(name))
        }
    }

    func complete(_ manifest: Data) throws {
        let written = part(ModelBundle.manifestName)
        let handle = try Self.open(written, at: 0)
        try handle.write(contentsOf: manifest)
        try handle.synchronize()
        try handle.close()
        try Self.move(written, staged(ModelBundle.manifestName))
    }

    /// Between any two of these steps `recover` finds a whole bundle.
    func exchange(_ check: () throws -> Void) throws {
        try Self.remove(previous)
        try check()
        if Self.exists(folder) { try Self.move(folder, previous) }
        try check()
        try Self.move(bundle, folder)
        try check()
        try recover()
    }

    func recover() throws {
        if !Self.exists(folder) {
            if Self.exists(staged(ModelBundle.manifestName)) {
                try Self.move(bundle, folder)
            } else if Self.exists(previous) {
                try Self.move(previous, folder)
            }
        }
        if Self.exists(folder) { try Self.remove(previous) }
        if !Self.exists(bundle) { try Self.remove(staging) }
    }

    /// Relative paths of everything in a folder that is no folder.
    static func contents(of folder: URL) -> [String] {
        let paths = (try? FileManager.default.subpathsOfDirectory(atPath: folder.path)) ?? []
        return paths.filter { path in
            let attributes = try? FileManager.default.attributesOfItem(atPath: folder.appendingPathComponent(path).path)
            return attributes?[.type] as? FileAttributeType != .typeDirectory
        }
    }

    /// A file to write to from a byte on; what is behind it goes.
    static func open(_ file: URL, at start: Int) throws -> FileHandle {
        if !exists(file), !FileManager.default.createFile(atPath: file.path, contents: nil) {
            throw CocoaError(.fileWriteUnknown)
        }
        let handle = try FileHandle(forWritingTo: file)
        try handle.truncate(atOffset: UInt64(max(start, 0)))
        try handle.seekToEnd()
        return handle
    }

    /// As a second name of the same file where the system has such, else as a copy.
    static func copy(_ from: URL, _ to: URL) throws {
        do {
            try FileManager.default.linkItem(at: from, to: to)
        } catch {
            try FileManager.default.copyItem(at: from, to: to)
        }
    }

    /// One step of the file system: `rename`.
    static func move(_ from: URL, _ to: URL) throws {
        guard rename(from.path, to.path) == 0 else {
            throw NSError(domain: NSPOSIXErrorDomain, code: Int(errno))
        }
    }

    private static func remove(_ item: URL) throws {
        if exists(item) { try FileManager.default.removeItem(at: item) }
    }

    private static func exists(_ item: URL) -> Bool { FileManager.default.fileExists(atPath: item.path) }
}
