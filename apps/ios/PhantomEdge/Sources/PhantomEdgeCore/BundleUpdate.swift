import Foundation

/// Where a bundle's files come from, such as a web server.
public protocol FileSupply: Sendable {
    /// The file's bytes from `start` on, or from its beginning: see `FilePart.start`.
    func open(_ name: String, from start: Int) async throws -> FilePart
}

/// A file's bytes in pieces, and at which byte they begin.
public struct FilePart: Sendable {
    public let start: Int
    public let pieces: AsyncThrowingStream<Data, any Error>

    public init(start: Int, pieces: AsyncThrowingStream<Data, any Error>) {
        (self.start, self.pieces) = (start, pieces)
    }
}

/// Brings a bundle into `folder`, or makes the one that is there a newer one, by file and digest: what the folder has
/// already, under any name, is not fetched again.
///
///     let update = try BundleUpdate(of: folder, to: manifest, from: supply)
///     print(update.missing, update.bytes)
///     let bundle = try await update.run()
///
/// Each file's size and SHA-256 are compared before the exchange, which is one step: at any time there is the old bundle
/// or the new one, and `recover` finds it after a crash. What was cut short goes on where it ended. One update of a folder
/// at a time.
public struct BundleUpdate: Sendable {
    /// Hears bytes done and bytes in all.
    public typealias OnBytes = @Sendable (Int, Int) -> Void

    private static let largest = 1 << 40
    private static let shown = 80

    private let folder: URL
    private let manifest: Data
    private let supply: any FileSupply
    private let place: UpdatePlace
    private let files: [(name: String, entry: Manifest.FileEntry)]
    /// Files of the folder that the newer bundle may have too, by digest. Compared again when they are taken.
    private let known: [String: URL]

    /// `manifest` is the text of the newer bundle's `manifest.json`, from where it can be trusted: it decides what is right.
    ///
    /// Throws `PhantomEdgeError.bundle` for a manifest that is none, or of a bundle of another format than the folder's.
    public init(of folder: URL, to manifest: Data, from supply: any FileSupply) throws {
        (self.folder, self.manifest, self.supply) = (folder, manifest, supply)
        place = UpdatePlace(folder)
        guard manifest.count <= ModelBundle.manifestLimit else {
            throw Self.refusal("is over \(ModelBundle.manifestLimit >> 20) MiB")
        }
        let newer = try Manifest(json: manifest)
        files = newer.files.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        try Self.check(files)
        try Self.recover(folder)
        let installed = try? ModelBundle(folder: folder, verify: false)
        if let format = installed?.manifest.format, format != newer.format {
            throw PhantomEdgeError.bundle(
                "the newer bundle's format is \(newer.format), the installed one's \(format): export the same one")
        }
        let present = (installed?.manifest.files ?? [:]).map { ($1.sha256, folder.appendingPathComponent($0)) }
        known = Dictionary(present.filter { ModelBundle.size(of: $1) != nil }, uniquingKeysWith: { first, _ in first })
    }

    /// The files that are to be fetched, with their sizes.
    public var missing: [String: Int] {
        let absent = files.filter { known[$0.entry.sha256] == nil }.map { ($0.name, $0.entry.bytes) }
        return Dictionary(absent, uniquingKeysWith: { first, _ in first })
    }

    /// What is to be fetched, in bytes; a digest that several files have is fetched once.
    public var bytes: Int {
        let absent = files.filter { known[$0.entry.sha256] == nil }.map { ($0.entry.sha256, $0.entry.bytes) }
        return Dictionary(absent, uniquingKeysWith: { first, _ in first }).values.reduce(0, +)
    }

    /// Fetches what is missing and exchanges the bundles; gives the new one. With `verify` a bundle that is there already
    /// is compared by its digests, else by its sizes: quick enough for every start.
    ///
    /// Cancelling the task ends it between two pieces. Throws `PhantomEdgeError.transfer` where a file cannot be fetched,
    /// `storage` where one cannot be written, and `bundle` for a file that is not the manifest's; the folder then is as it
    /// was.
    public func run(verify: Bool = true, onBytes: @escaping OnBytes = { _, _ in }) async throws -> ModelBundle {
        try await run(verify: verify, check: { try Task.checkCancellation() }, onBytes: onBytes)
    }

    /// Ends an exchange that a crash cut short: afterwards the folder has the old bundle or the new one. Call it before a
    /// bundle that is updated is opened; where nothing was cut short it costs nothing.
    public static func recover(_ folder: URL) throws {
        try storing { try UpdatePlace(folder).recover() }
    }

    /// `check` is called between any two steps, and may throw.
    func run(verify: Bool, check: () throws -> Void, onBytes: OnBytes = { _, _ in }) async throws -> ModelBundle {
        if try !isInstalled(verify) {
            if !place.isComplete(manifest) { try await fill(check, onBytes) }
            try storing { try place.exchange(check) }
        }
        return try ModelBundle(folder: folder, verify: false)
    }

    private static func check(_ files: [(name: String, entry: Manifest.FileEntry)]) throws {
        let names = Set(files.map(\.name))
        for (name, entry) in files {
            let parents = name.split(separator: "/", omittingEmptySubsequences: false).dropLast()
            let above = parents.indices.map { parents[...$0].joined(separator: "/") }
            guard name != ModelBundle.manifestName, names.isDisjoint(with: above) else {
                throw refusal("has a file \(name.prefix(shown)) that cannot be")
            }
            let isDigest = entry.sha256.utf8.count == 64 && entry.sha256.allSatisfy { "0123456789abcdef".contains($0) }
            guard isDigest, (0...largest).contains(entry.bytes) else {
                throw refusal("has no digest or size of \(name.prefix(shown))")
            }
        }
    }

    private static func refusal(_ what: String) -> PhantomEdgeError {
        .bundle("the newer \(ModelBundle.manifestName) \(what): do not use it")
    }

    private func isInstalled(_ verify: Bool) throws -> Bool {
        let own = folder.appendingPathComponent(ModelBundle.manifestName)
        guard let text = try? Data(contentsOf: own), text == manifest else { return false }
        let expected = Set(files.map(\.name) + [ModelBundle.manifestName])
        guard Set(UpdatePlace.contents(of: folder)) == expected else { return false }
        return files.allSatisfy { isRight(folder.appendingPathComponent($0.name), $0.entry, byDigest: verify) }
    }

    private func fill(_ check: () throws -> Void, _ onBytes: OnBytes) async throws {
        try storing { try place.prepare(Set(files.map(\.name))) }
        var absent: [(name: String, entry: Manifest.FileEntry)] = []
        for (name, entry) in files {
            try check()
            if try !isRight(place.staged(name), entry) && !isTaken(name, entry) { absent.append((name, entry)) }
        }
        let groups = Dictionary(grouping: absent, by: \.entry.sha256).values.sorted { $0[0].name < $1[0].name }
        let total = groups.reduce(0) { $0 + $1[0].entry.bytes }
        try checkRoom(total - groups.reduce(0) { $0 + (ModelBundle.size(of: place.part($1[0].entry.sha256)) ?? 0) })
        var done = 0
        for group in groups {
            let (name, entry) = group[0]
            let part = place.part(entry.sha256)
            try await fetch(name, entry, part) { bytes in
                try check()
                onBytes(done + bytes, total)
            }
            try storing {
                for other in group.dropLast() { try UpdatePlace.copy(part, place.staged(other.name)) }
                try UpdatePlace.move(part, place.staged(group[group.count - 1].name))
            }
            done += entry.bytes
            onBytes(done, total)
        }
        try check()
        try storing { try place.complete(manifest) }
    }

    /// Whether the folder had the file, and still has it as it should be: then it is part of the new bundle too.
    private func isTaken(_ name: String, _ entry: Manifest.FileEntry) throws -> Bool {
        let target = place.staged(name)
        try? FileManager.default.removeItem(at: target)
        return try storing {
            let parent = target.deletingLastPathComponent()
            try FileManager.default.createDirectory(at: parent, withIntermediateDirectories: true)
            guard let source = known[entry.sha256], ModelBundle.size(of: source) == entry.bytes else { return false }
            try UpdatePlace.copy(source, target)
            if isRight(target, entry) { return true }
            try FileManager.default.removeItem(at: target)
            return false
        }
    }

    private func isRight(_ file: URL, _ entry: Manifest.FileEntry, byDigest: Bool = true) -> Bool {
        guard ModelBundle.size(of: file) == entry.bytes else { return false }
        return !byDigest || (try? FileDigest.sha256(of: file)) == entry.sha256
    }

    private func checkRoom(_ needed: Int) throws {
        let system = try? FileManager.default.attributesOfFileSystem(forPath: place.staging.path)
        guard let free = (system?[.systemFreeSize] as? NSNumber)?.intValue, needed > free else { return }
        throw PhantomEdgeError.storage("\(needed >> 20) MiB are needed, \(free >> 20) MiB are free: make room")
    }

    private func fetch(
        _ name: String, _ entry: Manifest.FileEntry, _ part: URL, _ onBytes: (Int) throws -> Void
    ) async throws {
        var size = ModelBundle.size(of: part)
        if let length = size, length > entry.bytes {
            try? FileManager.default.removeItem(at: part)
            size = nil
        }
        if size != entry.bytes { try await append(name, entry.bytes, part, from: size ?? 0, onBytes) }
        guard isRight(part, entry) else {
            try? FileManager.default.removeItem(at: part)
            throw PhantomEdgeError.bundle(
                "\(name.prefix(Self.shown)) that came is not the file of the manifest: try again")
        }
    }

    private func append(
        _ name: String, _ bytes: Int, _ part: URL, from length: Int, _ onBytes: (Int) throws -> Void
    ) async throws {
        let source = try await fetching(name) { try await supply.open(name, from: length) }
        let handle = try storing { try UpdatePlace.open(part, at: source.start) }
        defer { try? handle.close() }
        var (done, pieces) = (source.start, source.pieces.makeAsyncIterator())
        while done <= bytes {  // a server that never ends is not followed
            guard let piece = try await fetching(name, { try await pieces.next() }) else { break }
            try storing { try handle.write(contentsOf: piece.prefix(bytes + 1 - done)) }
            done += piece.count
            try onBytes(min(done, bytes))
        }
        try storing { try handle.synchronize() }
    }

    private func fetching<T: Sendable>(_ name: String, _ work: () async throws -> T) async throws -> T {
        do {
            return try await work()
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            let reason = oneLine(error, Self.shown)
            throw PhantomEdgeError.transfer(
                "\(name.prefix(Self.shown)) could not be fetched (\(reason)): try again, it goes on")
        }
    }
}

private func oneLine(_ error: any Error, _ most: Int) -> String {
    let text = (error as? LocalizedError)?.errorDescription ?? error.localizedDescription
    return String(text.prefix { !$0.isNewline }.prefix(most))
}

private func storing<T>(_ work: () throws -> T) throws -> T {
    do {
        return try work()
    } catch let error as NSError where error.domain == NSCocoaErrorDomain || error.domain == NSPOSIXErrorDomain {
        let reason = oneLine(error, 160)
        throw PhantomEdgeError.storage(
            "the bundle cannot be written (\(reason)): make room, and give a folder of the app's own")
    }
}
