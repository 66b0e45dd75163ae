import Foundation
import XCTest

@testable import PhantomEdgeCore

/// A folder that becomes a newer bundle: by digest, resumed, bounded, and whole after a crash at any point.
final class BundleUpdateTests: XCTestCase {
    private var below = URL(fileURLWithPath: "/")
    private var folder: URL { below.appendingPathComponent("bundle") }

    /// A bundle's manifest with its files, by name.
    private struct Made {
        let manifest: Data
        let files: [String: Data]
    }

    override func setUpWithError() throws {
        let name = "update-\(UUID().uuidString)"
        below = FileManager.default.temporaryDirectory.appendingPathComponent(name, isDirectory: true)
        try FileManager.default.createDirectory(at: below, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws { try FileManager.default.removeItem(at: below) }

    func testOnlyWhatIsNewByDigestIsFetched() async throws {
        try await install(old())
        let (made, heard) = (try new(), Heard())
        let supply = Supply(made.files)
        let update = try BundleUpdate(of: folder, to: made.manifest, from: supply)
        XCTAssertEqual(update.missing, ["sub/b": 400_000, "d": 0, "e": 20, "f/e": 20])
        XCTAssertEqual(update.bytes, 400_020)
        _ = try await update.run { heard.add($0, $1) }
        try assertIs(made)
        XCTAssertEqual(supply.opened.map(\.name).sorted(), ["d", "e", "sub/b"], "two files alike come once")
        XCTAssertEqual(heard.all.last, [400_020, 400_020])
        XCTAssertEqual(heard.all.map { $0[0] }, heard.all.map { $0[0] }.sorted())
        let again = Supply(made.files)
        let none = try BundleUpdate(of: folder, to: made.manifest, from: again)
        XCTAssertEqual(none.bytes, 0)
        _ = try await none.run()
        XCTAssertEqual(again.opened.count, 0)
    }

    func testAFileThatIsDamagedHereIsFetchedAgain() async throws {
        try await install(old())
        let (made, spoiled) = (try new(), text("z", 300_000))
        try spoiled.write(to: folder.appendingPathComponent("a"))
        let supply = Supply(made.files)
        _ = try await BundleUpdate(of: folder, to: made.manifest, from: supply).run()
        try assertIs(made)
        XCTAssertTrue(supply.opened.contains { $0.name == "a" })
        try spoiled.write(to: folder.appendingPathComponent("a"))
        _ = try await BundleUpdate(of: folder, to: made.manifest, from: supply).run(verify: false)
        XCTAssertThrowsError(try ModelBundle(folder: folder), "by size it is right")
        _ = try await BundleUpdate(of: folder, to: made.manifest, from: supply).run()
        try assertIs(made)
    }

    func testAfterACrashAtAnyPointTheOldOrTheNewBundleIsWhole() async throws {
        let (before, made) = (try old(), try new())
        let supply = Supply(made.files)
        var crashes = 0
        for after in 0..<1_000 {
            for item in try FileManager.default.contentsOfDirectory(atPath: below.path) {
                try FileManager.default.removeItem(at: below.appendingPathComponent(item))
            }
            try await install(before)
            var left = after
            do {
                _ = try await BundleUpdate(of: folder, to: made.manifest, from: supply).run(verify: true) {
                    left -= 1
                    if left < 0 { throw Crash() }
                }
                break
            } catch is Crash {
                crashes += 1
            }
            try BundleUpdate.recover(folder)
            let isNew = FileManager.default.fileExists(atPath: folder.appendingPathComponent("c").path)
            try assertIs(isNew ? made : before, isAlone: isNew)
            _ = try await BundleUpdate(of: folder, to: made.manifest, from: supply).run()
            try assertIs(made)
        }
        try assertIs(made)
        XCTAssertGreaterThan(crashes, 12)
    }

    func testWhatWasCutShortGoesOnWhereItEndedAlsoForALaterBundle() async throws {
        try await install(old())
        let made = try new()
        let broken = Supply(made.files, breaking: ["sub/b": 150_000])
        await refused(.transfer("sub/b could not be fetched (the connection was lost): try again, it goes on")) {
            _ = try await BundleUpdate(of: folder, to: made.manifest, from: broken).run()
        }
        try assertIs(old(), isAlone: false)
        let later = try bundle(["renamed": text("B", 400_000), "a": text("A", 7)])
        let supply = Supply(later.files)
        _ = try await BundleUpdate(of: folder, to: later.manifest, from: supply).run()
        try assertIs(later)
        XCTAssertEqual(Set(supply.opened.map { "\($0.name) \($0.start)" }), ["renamed 150000", "a 0"])
    }

    func testAServerThatKnowsNoRangesSendsTheWholeFileAgain() async throws {
        try await install(old())
        let made = try new()
        let broken = Supply(made.files, breaking: ["sub/b": 10])
        _ = try? await BundleUpdate(of: folder, to: made.manifest, from: broken).run()
        _ = try await BundleUpdate(of: folder, to: made.manifest, from: Supply(made.files, knowsRanges: false)).run()
        try assertIs(made)
    }

    func testWhatIsNotTheManifestsIsRefusedAndBounded() async throws {
        try await install(old())
        let made = try new()
        let lies = made.files.mapValues { Data(repeating: 63, count: $0.count) }
        let line = "sub/b that came is not the file of the manifest: try again"
        let honest = ["d": Data(), "e": text("e", 20)]
        for supply in [Supply(lies.merging(honest) { $1 }), Supply(made.files, endless: true)] {
            do {
                _ = try await BundleUpdate(of: folder, to: made.manifest, from: supply).run()
                XCTFail("it was taken")
            } catch PhantomEdgeError.bundle(let text) {
                XCTAssertTrue(text.hasSuffix(line.suffix(40)), text)
            }
            XCTAssertLessThan(supply.sent, 2 << 20)
        }
        try assertIs(old(), isAlone: false)
        do {
            _ = try await BundleUpdate(of: folder, to: made.manifest, from: Supply([:])).run()
            XCTFail("it was taken")
        } catch PhantomEdgeError.transfer {}
        _ = try await BundleUpdate(of: folder, to: made.manifest, from: Supply(made.files)).run()
        try assertIs(made)
    }

    func testAManifestThatCannotBeIsRefusedBeforeAnyWork() async throws {
        try await install(old())
        let exported = String(decoding: try new().manifest, as: UTF8.self)
        func changed(_ text: String, _ other: String) -> Data {
            XCTAssertTrue(exported.contains(text), text)
            return Data(exported.replacingOccurrences(of: text, with: other).utf8)
        }
        let digest = try digest(text("e", 20))
        let wrong: [(Data, String)] = [
            (Data("{}".utf8), "not the manifest"), (Data(count: 17 << 20), "16 MiB"),
            (try bundle(["manifest.json": text("m", 1)]).manifest, "cannot be"),
            (try bundle(["a": text("a", 1), "a/b": text("b", 1)]).manifest, "cannot be"),
            (try bundle(["../a": text("a", 1)]).manifest, "outside"),
            (changed(digest, "../../x"), "no digest"),
            (changed(#""bytes":20"#, #""bytes":9007199254740992"#), "no digest or size"),
            (try bundle(["a": text("a", 1)], format: "executorch").manifest, "format is executorch"),
        ]
        let supply = Supply([:])
        for (manifest, words) in wrong {
            XCTAssertThrowsError(try BundleUpdate(of: folder, to: manifest, from: supply), words) { error in
                XCTAssertTrue("\(error)".contains(words) && "\(error)".count <= 300, "\(error)")
            }
        }
        try assertIs(old())
        let large = changed(#""bytes":400000"#, #""bytes":\#(1 << 40)"#)
        do {
            _ = try await BundleUpdate(of: folder, to: large, from: supply).run()
            XCTFail("it was begun")
        } catch PhantomEdgeError.storage {}
        XCTAssertEqual(supply.opened.count, 0)
        try assertIs(old(), isAlone: false)
    }

    func testACancelledUpdateIsNone() async throws {
        try await install(old())
        let (made, folder) = (try new(), folder)
        let task = Task { try await BundleUpdate(of: folder, to: made.manifest, from: Supply(made.files)).run() }
        task.cancel()
        do {
            _ = try await task.value
        } catch is CancellationError {
            try assertIs(old(), isAlone: false)
        }
    }

    // --- bundles

    // b changes its contents, c its name, d is new, e and f/e are new and alike, a stays, x goes.
    private func old() throws -> Made {
        try bundle(["a": text("a", 300_000), "sub/b": text("b", 9), "sub/c": text("c", 70_000), "x": text("x", 5)])
    }

    private func new() throws -> Made {
        try bundle([
            "a": text("a", 300_000), "sub/b": text("B", 400_000), "c": text("c", 70_000), "d": Data(),
            "e": text("e", 20), "f/e": text("e", 20),
        ])
    }

    private func text(_ character: Character, _ count: Int) -> Data {
        Data((0..<count).map { (character.asciiValue ?? 0) + UInt8($0 % 3) })
    }

    private func digest(_ data: Data) throws -> String {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: file) }
        try data.write(to: file)
        return try FileDigest.sha256(of: file)
    }

    private func bundle(_ files: [String: Data], format: String = "coreml") throws -> Made {
        let exported = try Data(contentsOf: Vectors.folder().appendingPathComponent("bundle/manifest.json"))
        var json = try XCTUnwrap(JSONSerialization.jsonObject(with: exported) as? [String: Any])
        json["files"] = try files.mapValues { ["bytes": $0.count, "sha256": try digest($0)] as [String: Any] }
        json["format"] = format
        let options: JSONSerialization.WritingOptions = [.sortedKeys, .withoutEscapingSlashes]
        return Made(manifest: try JSONSerialization.data(withJSONObject: json, options: options), files: files)
    }

    private func install(_ made: Made) async throws {
        _ = try await BundleUpdate(of: folder, to: made.manifest, from: Supply(made.files)).run()
        try assertIs(made)
    }

    /// Whether the folder holds exactly these bytes, and nothing else lies around.
    private func assertIs(_ made: Made, isAlone: Bool = true) throws {
        _ = try ModelBundle(folder: folder)
        let names = Set(UpdatePlace.contents(of: folder))
        XCTAssertEqual(names, Set(made.files.keys).union([ModelBundle.manifestName]))
        for (name, bytes) in made.files.merging([ModelBundle.manifestName: made.manifest], uniquingKeysWith: { $1 }) {
            XCTAssertEqual(try Data(contentsOf: folder.appendingPathComponent(name)), bytes, name)
        }
        if isAlone { XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: below.path), ["bundle"]) }
    }

    private func refused(_ expected: PhantomEdgeError, _ work: () async throws -> Void) async {
        do {
            try await work()
            XCTFail("it went well")
        } catch {
            XCTAssertEqual(error as? PhantomEdgeError, expected)
        }
    }
}

private struct Crash: Error {}

private struct Lost: LocalizedError {
    var errorDescription: String? { "the connection was lost" }
}

/// A server of some files that may break, lie, or never end.
private final class Supply: FileSupply, @unchecked Sendable {
    private let files: [String: Data]
    private let breaking: [String: Int]
    private let knowsRanges: Bool
    private let isEndless: Bool
    private let lock = NSLock()
    private var asked: [(name: String, start: Int)] = []
    private var count = 0

    var opened: [(name: String, start: Int)] { lock.withLock { asked } }
    /// Bytes that were taken.
    var sent: Int { lock.withLock { count } }

    init(_ files: [String: Data], breaking: [String: Int] = [:], knowsRanges: Bool = true, endless: Bool = false) {
        (self.files, self.breaking, self.knowsRanges, isEndless) = (files, breaking, knowsRanges, endless)
    }

    func open(_ name: String, from start: Int) async throws -> FilePart {
        lock.withLock { asked.append((name, start)) }
        guard let file = files[name] else { throw Lost() }
        let start = knowsRanges ? start : 0
        let cut = breaking[name]
        let rest = Array(file.dropFirst(start).prefix(cut ?? file.count))
        let sent = Sent()
        let pieces = AsyncThrowingStream<Data, any Error> { [self] in
            let place = sent.next()
            let piece = isEndless ? Data(count: 1 << 16) : Data(rest.dropFirst(place).prefix(1 << 16))
            if piece.isEmpty, cut != nil { throw Lost() }
            lock.withLock { count += piece.count }
            return piece.isEmpty ? nil : piece
        }
        return FilePart(start: start, pieces: pieces)
    }

    /// Where the next piece of 64 KiB begins.
    private final class Sent: @unchecked Sendable {
        private let lock = NSLock()
        private var place = -1 << 16

        func next() -> Int {
            lock.withLock {
                place += 1 << 16
                return place
            }
        }
    }
}

private final class Heard: @unchecked Sendable {
    private let lock = NSLock()
    private var pairs: [[Int]] = []

    var all: [[Int]] { lock.withLock { pairs } }
    func add(_ done: Int, _ total: Int) { lock.withLock { pairs.append([done, total]) } }
}
