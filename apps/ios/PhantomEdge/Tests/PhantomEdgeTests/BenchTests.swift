import Foundation
import XCTest

@testable import PhantomEdgeCore

/// The benchmark over an exported bundle's own graphs. Python reads the lines that it tells
/// (`tests/apps/native_bench.py`).
final class BenchTests: XCTestCase {
    // One connection for the process: the server takes one client.
    private static nonisolated(unsafe) var connection: PipeBackend?

    private func folder() throws -> URL {
        let folder = try Vectors.folder().appendingPathComponent("bench")
        guard FileManager.default.fileExists(atPath: folder.path) else { throw XCTSkip("no server for the benchmark") }
        return folder
    }

    private func open() throws -> PipeBackend {
        let folder = try folder()
        let bundle = try ModelBundle(folder: folder.appendingPathComponent("bundle"), verify: false)
        let backend = try Self.connection ?? PipeBackend(folder: folder, hidden: bundle.manifest.shape.hidden)
        Self.connection = backend
        return backend
    }

    /// Lines of one run; `job` replaces the one that Python wrote.
    private func lines(_ platform: Bench, job: String? = nil) async throws -> [String] {
        let bundle = try folder().appendingPathComponent("bundle")
        let file = bundle.appendingPathComponent("job.json")
        let before = try Data(contentsOf: file)
        if let job { try Data(job.utf8).write(to: file) }
        defer { try? before.write(to: file) }
        let scratch = try folder().appendingPathComponent("scratch")  // another run of these tests has its own
        try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
        let heard = Heard()
        await Benchmark(folder: bundle, scratch: scratch, platform: platform) { heard.add($0) }.run()
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: scratch.path), [])
        return heard.all
    }

    func testTheLinesOfAWholeRun() async throws {
        let printed = try await lines(Bench(backend: open()))
        XCTAssertTrue(printed.allSatisfy { !$0.contains("\n") })
        XCTAssertTrue(try XCTUnwrap(printed.last).hasPrefix(#"{"run":"#), printed.last ?? "")
        let text = printed.joined(separator: "\n") + "\n"
        try Data(text.utf8).write(to: folder().appendingPathComponent("lines.jsonl"))
    }

    func testWhatComputesSomethingElseIsNotTimed() async throws {
        let printed = try await lines(Bench(backend: Wrong(open())))
        XCTAssertFalse(printed.contains { $0.contains("first token") })
        let last = try Json(Data(XCTUnwrap(printed.last).utf8))
        XCTAssertEqual(last["code"]?.integer, 1)
        XCTAssertTrue(try last.text("error").contains("image_features.rms is 2 (limit"), printed.last ?? "")
    }

    func testAHotDeviceAndAChargingOneAreSaidToBe() async throws {
        let job = #"""
            {"settings": {"repeats": 1, "warmup": 0, "steps": 1, "depths": [], "threads": null, "soak": 0.0001,
            "clock": "wall"}, "check": false, "soak": true}
            """#
        let platform = try Bench(backend: open(), powered: true, thermal: .critical)
        let printed = try await lines(platform, job: job)
        let run = try Json(Data(XCTUnwrap(printed.last).utf8))["run"]
        XCTAssertTrue(try XCTUnwrap(run?.strings("notes")).contains { $0.contains("hot (critical)") })
        XCTAssertTrue(try XCTUnwrap(run?["missing"]?.text("energy")).contains("charging"))
        XCTAssertNil(run?["samples"]?["energy"])
    }

    func testAJobThatIsNoneIsTheUsersFault() async throws {
        let good = #""warmup": 0, "steps": 1, "depths": [0], "soak": 0, "clock""#
        for job in [
            "", "{}", #"{"settings": {"repeats": 0, \#(good): "wall"}, "check": true, "soak": false}"#,
            #"{"settings": {"repeats": 1, \#(good): "processor"}, "check": true, "soak": false}"#,
            #"{"settings": {"repeats": 1, \#(good): "wall"}, "check": true, "soak": true}"#,
        ] {
            let printed = try await lines(Bench(backend: open()), job: job)
            XCTAssertEqual(printed.count, 1, job)
            XCTAssertEqual(try Json(Data(printed[0].utf8)).int("code"), 2, printed[0])
        }
    }

    func testTheCacheIsFilledWithText() throws {
        let bundle = try ModelBundle(folder: folder().appendingPathComponent("bundle"), verify: false)
        let session = try PhantomSession(bundle: bundle, backend: open())
        let ids = try BenchTask.filler(session, count: 500)
        XCTAssertEqual(ids.count, 500)
        XCTAssertEqual(Array(ids.prefix(50)), try BenchTask.filler(session, count: 50))
        let barred = Set(bundle.manifest.ids.end + [bundle.manifest.ids.image])
        XCTAssertTrue(barred.isDisjoint(with: ids.dropFirst()))
        XCTAssertTrue(ids.allSatisfy { (0..<bundle.manifest.shape.vocabulary).contains($0) })
        XCTAssertGreaterThan(Set(ids).count, min(100, bundle.manifest.shape.vocabulary / 2))
    }
}

/// This machine as a device: pictures as plain bytes, memory as the kernel tells it, a battery that empties.
private final class Bench: BenchPlatform, @unchecked Sendable {
    private let served: any Backend
    private let powered: Bool
    private let thermal: ThermalLevel
    private var charge = 100_000.0

    init(backend: any Backend, powered: Bool = false, thermal: ThermalLevel = .nominal) {
        (served, self.powered, self.thermal) = (backend, powered, thermal)
    }

    let runtime = ["version": BenchFact.text("a \"quoted\" one")]
    let notes: [String] = []
    var conditions: any DeviceConditions { Heat(thermal: thermal) }

    func install(_ bundle: ModelBundle) async throws {}

    func backend(_ bundle: ModelBundle, threads: Int?) async throws -> any Backend { served }

    func write(_ picture: RGBImage, to file: URL) throws {
        try Data("\(picture.width) \(picture.height)\n".utf8 + picture.pixels).write(to: file)
    }

    func picture(_ file: URL) throws -> RGBImage {
        let parts = try Data(contentsOf: file).split(separator: UInt8(ascii: "\n"), maxSplits: 1)
        let sizes = String(decoding: parts[0], as: UTF8.self).split(separator: " ").compactMap { Int($0) }
        return try RGBImage(width: sizes[0], height: sizes[1], pixels: Array(parts[1]))
    }

    func peakMemory() -> Int? {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
    }

    func temperature() -> Double? { 31.5 }

    func battery() -> BenchBattery? {
        defer { charge -= 10_000 }
        return BenchBattery(powered: powered, charge: charge, volts: 4)
    }
}

private struct Heat: DeviceConditions {
    let thermal: ThermalLevel
    var availableMemory: Int? { nil }
}

/// A backend whose vision encoder has its sign wrong.
struct Wrong: Backend {
    private let right: PipeBackend
    init(_ right: PipeBackend) { self.right = right }
    var name: String { "wrong" }
    func encode(tile: [Float]) async throws -> [Float] { try await right.encode(tile: tile).map { -$0 } }
    func embed(_ ids: [Int]) async throws -> [Float] { try await right.embed(ids) }
    func makeCache() async throws -> any DecoderCache { try await right.makeCache() }
    func decode(_ embeddings: [Float], at position: Int, cache: any DecoderCache) async throws -> [Float] {
        try await right.decode(embeddings, at: position, cache: cache)
    }
    func trim() async {}
}

private final class Heard: @unchecked Sendable {
    private let lock = NSLock()
    private var lines: [String] = []
    func add(_ line: String) { lock.withLock { lines.append(line) } }
    var all: [String] { lock.withLock { lines } }
}
