import Foundation
import PhantomEdge
import XCTest

@testable import PhantomARCore

let config = try! AppConfig(
    json: Data(#"{"title": "Test", "presets": ["What is it?", "How many?"], "longestAnswer": 11}"#.utf8))

/// Cases that the apps of every language are held to; the Python tests name their folder.
func sharedVectors(_ name: String) throws -> Any {
    guard let folder = ProcessInfo.processInfo.environment["PHANTOM_EDGE_APP_VECTORS"] else {
        throw XCTSkip("no vectors")
    }
    let file = URL(fileURLWithPath: folder).appendingPathComponent("\(name)_vectors.json")
    return try JSONSerialization.jsonObject(with: Data(contentsOf: file))
}

/// A source whose pictures are as wide as they are many.
@MainActor final class Pictures: PictureSource {
    let kind: SourceKind
    var hint: String?
    var reach = Reach()
    var isEmpty = false
    private(set) var taken = 0
    private(set) var isClosed = false
    private(set) var labels: [LabelText] = []
    private var frozen: Frame?

    init(_ kind: SourceKind = .camera) { self.kind = kind }

    func grab() async throws -> Frame? {
        if isEmpty { return nil }
        if let frozen { return frozen }
        taken += 1
        return Frame(try RGBImage(width: taken, height: 1, pixels: [UInt8](repeating: 7, count: 3 * taken)))
    }

    func freeze() { frozen = try? Frame(RGBImage(width: 99, height: 1, pixels: [UInt8](repeating: 7, count: 297))) }
    func thaw() { frozen = nil }
    func show(_ label: LabelText) { labels.append(label) }
    func close() { isClosed = true }
}

/// A device whose temperature a test sets.
final class Weather: DeviceConditions, @unchecked Sendable {
    private let lock = NSLock()
    private var level = ThermalLevel.nominal

    var thermal: ThermalLevel {
        get { lock.withLock { level } }
        set { lock.withLock { level = newValue } }
    }
    var availableMemory: Int? { nil }
}

/// An engine that fails, or waits until it is cancelled.
struct Stuck: Engine {
    let info = ModelInfo(facts: [])
    var error: PhantomEdgeError?

    func ask(
        _ frame: Frame, _ question: String, form: Form?, maxTokens: Int, onText: @escaping OnText
    ) async throws -> Answer {
        if let error { throw error }
        try await Task.sleep(for: .seconds(60))
        return Answer(text: "too late", speed: Speed(), stop: .end)
    }

    func useTiles(of size: Int) async throws { throw error ?? .runtime("no") }
    func selfTest() async throws -> [CheckRow] { throw error ?? .runtime("no") }
    func trim() async {}
}

@MainActor func appModel(_ conditions: Weather = Weather(), _ engine: any Engine = FakeEngine(step: .milliseconds(1)))
    -> AppModel
{
    let load: EngineLoader = { onStep in
        await onStep(LoadingStep("Loading the model", part: 0.5))
        return engine
    }
    return AppModel(config: config, conditions: conditions, memory: { 12_000_000 }, load: load)
}

/// Waits until something holds, and fails when it does not within five seconds.
@MainActor func eventually(
    _ what: String, _ holds: @MainActor () -> Bool, file: StaticString = #filePath, line: UInt = #line
) async {
    for _ in 0..<500 where !holds() { try? await Task.sleep(for: .milliseconds(10)) }
    XCTAssertTrue(holds(), what, file: file, line: line)
}
