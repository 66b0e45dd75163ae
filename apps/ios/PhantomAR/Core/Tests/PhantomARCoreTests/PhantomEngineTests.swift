import Foundation
import PhantomEdge
import XCTest

@testable import PhantomARCore

/// The engine on a real bundle's manifest and tokenizer; the graphs are replaced by one that spells what it is told.
@MainActor final class PhantomEngineTests: XCTestCase {
    func testOneLookServesSeveralQuestionsOnOnePicture() async throws {
        let (engine, graphs) = try makeEngine()
        let frame = Frame(try picture())
        var pieces: [String] = []
        let first = try await engine.ask(frame, "What is it?", form: nil, maxTokens: 32) { text, _ in
            pieces.append(text)
        }
        XCTAssertEqual(first.text, Spelling.text)
        XCTAssertEqual(first.stop, .end)
        XCTAssertEqual(pieces.last, Spelling.text)
        XCTAssertTrue(zip(pieces, pieces.dropFirst()).allSatisfy { $1.hasPrefix($0) })
        XCTAssertGreaterThan(first.speed.firstToken, 0)
        XCTAssertGreaterThan(first.speed.rate, 0)
        let again = try await engine.ask(frame, "How many?", form: nil, maxTokens: 2) { _, _ in }
        XCTAssertEqual(again.stop, .length)
        XCTAssertTrue(Verdict(again, leastConfidence: 0.5).text.hasSuffix(" …"))
        let looks = await graphs.looks
        XCTAssertEqual(looks, 1, "one tile, one look")
        _ = try await engine.ask(Frame(try picture()), "How many?", form: nil, maxTokens: 2) { _, _ in }
        let more = await graphs.looks
        XCTAssertEqual(more, 2)
    }

    func testChoicesAreRankedAndARegularExpressionIsKeptTo() async throws {
        let (engine, graphs) = try makeEngine()
        let frame = Frame(try picture())
        let choices = try Form(choices: ["a blue cube", Spelling.text])
        let answer = try await engine.ask(frame, "What is it?", form: choices, maxTokens: 32) { _, _ in XCTFail() }
        XCTAssertEqual(answer.text, Spelling.text)
        XCTAssertEqual(answer.likelihoods.first?.text, Spelling.text)
        XCTAssertEqual(answer.likelihoods.reduce(0) { $0 + $1.probability }, 1, accuracy: 1e-9)
        let pattern = try Form(regex: "a (red|blue)")
        let spelled = try await engine.ask(frame, "Which is it?", form: pattern, maxTokens: 32) { _, _ in }
        XCTAssertEqual(spelled.text, "a red")
        XCTAssertEqual(spelled.stop, .end)
        let looks = await graphs.looks
        XCTAssertEqual(looks, 1, "one look")
    }

    /// From the tap to the values that the vision encoder is given.
    func testATapChangesWhatTheModelSees() async throws {
        let (engine, graphs) = try makeEngine()
        let scene = try Self.scene()
        let framing = Framing(
            stage: Size(width: 400, height: 500), picture: Size(width: 120, height: 90), fit: .contain)
        func seen(_ tap: Point, _ reach: Reach = Reach()) async throws -> [Int] {
            let part = framing.part(around: framing.toPicture(framing.toStage(tap)), reach)
            let image = try scene.cropped(x: part.x, y: part.y, width: part.width, height: part.height)
            _ = try await engine.ask(Frame(image), "What colour is it?", form: nil, maxTokens: 2) { _, _ in }
            return await graphs.means
        }
        let (red, blue) = (Point(x: 30, y: 40), Point(x: 95, y: 60))
        let reds = try await seen(red)
        XCTAssertEqual(reds, [200, 30, 30], "the red square alone")
        let blues = try await seen(blue)
        XCTAssertEqual(blues, [30, 60, 200], "the blue square alone")
        let one = try await seen(red, Reach(isWhole: true))
        let other = try await seen(blue, Reach(isWhole: true))
        for whole in [one, other] { XCTAssertTrue(whole[0] > 100 && whole[2] > 100, "\(whole)") }
        XCTAssertGreaterThan(one[0], other[0], "the largest square, nearer to the red one than to the blue one")
    }

    /// 120 by 90 pixels, light, with a red and a blue square of 40.
    private static func scene() throws -> RGBImage {
        let pixels = (0..<90).flatMap { y in
            (0..<120).flatMap { x -> [UInt8] in
                if (10..<50).contains(x) && (20..<60).contains(y) { return [200, 30, 30] }
                return (75..<115).contains(x) && (40..<80).contains(y) ? [30, 60, 200] : [220, 220, 220]
            }
        }
        return try RGBImage(width: 120, height: 90, pixels: pixels)
    }

    func testAnotherSizeLooksAgainAtThePicture() async throws {
        let (engine, graphs) = try makeEngine()
        let frame = Frame(try picture())
        let sizes = engine.info.tileSizes
        XCTAssertEqual(sizes.count, 2, "the tests' bundle has two")
        XCTAssertFalse(engine.info.facts.contains { $0.name == "Sees" }, "the choice says it")
        _ = try await engine.ask(frame, "What is it?", form: nil, maxTokens: 2) { _, _ in }
        try await engine.useTiles(of: sizes[1])
        _ = try await engine.ask(frame, "What is it?", form: nil, maxTokens: 2) { _, _ in }
        try await engine.useTiles(of: sizes[1])
        let answer = try await engine.ask(frame, "How many?", form: nil, maxTokens: 32) { _, _ in }
        XCTAssertEqual(answer.text, Spelling.text)
        let looks = await graphs.tiles
        XCTAssertEqual(looks, sizes.map { 3 * $0 * $0 })
        do {
            try await engine.useTiles(of: 100)
            XCTFail("it was taken")
        } catch PhantomEdgeError.input {}
    }

    func testACancelledAnswerIsNone() async throws {
        let (engine, _) = try makeEngine(delay: .milliseconds(20))
        let frame = Frame(try picture())
        let job = Task { try await engine.ask(frame, "What is it?", form: nil, maxTokens: 32) { _, _ in } }
        try await Task.sleep(for: .milliseconds(50))
        job.cancel()
        do {
            _ = try await job.value
            XCTFail("it was answered")
        } catch is CancellationError {}
        let answer = try await engine.ask(frame, "What is it?", form: nil, maxTokens: 32) { _, _ in }
        XCTAssertEqual(answer.text, Spelling.text)
    }

    private func picture() throws -> RGBImage {
        try RGBImage(width: 64, height: 64, pixels: [UInt8](repeating: 128, count: 64 * 64 * 3))
    }

    private func makeEngine(delay: Duration = .zero) throws -> (PhantomEngine, Spelling) {
        guard let path = ProcessInfo.processInfo.environment["PHANTOM_EDGE_BUNDLE"] else {
            throw XCTSkip("PHANTOM_EDGE_BUNDLE names no bundle: run the Python tests")
        }
        let bundle = try ModelBundle(folder: URL(fileURLWithPath: path))
        let graphs = try Spelling(bundle, delay)
        return (PhantomEngine(try PhantomSession(bundle: bundle, backend: graphs), loading: 1), graphs)
    }
}

/// Graphs that say one sentence, whatever they see.
private actor Spelling: Backend {
    static let text = "a red cube"

    private final class Cache: DecoderCache {}

    nonisolated let name = "spelling"
    private let manifest: Manifest
    private let script: [Int]
    private let delay: Duration
    private var isPrompt = false
    private var start = 0
    /// Values of each tile that was looked at.
    private(set) var tiles: [Int] = []
    var looks: Int { tiles.count }
    /// Of red, green and blue in the newest tile, 0 to 255.
    private(set) var means: [Int] = []

    init(_ bundle: ModelBundle, _ delay: Duration) throws {
        (manifest, self.delay) = (bundle.manifest, delay)
        script = try bundle.tokenizer().encode(Self.text) + [bundle.manifest.ids.end[0]]
    }

    func encode(tile: [Float]) -> [Float] {
        tiles.append(tile.count)
        let plane = tile.count / 3
        means = (0..<3).map { Int((255 * tile[$0 * plane..<($0 + 1) * plane].reduce(0, +) / Float(plane)).rounded()) }
        let tokens = manifest.tileSizes.first { 3 * $0.size * $0.size == tile.count }?.tokens ?? 0
        return [Float](repeating: 0, count: tokens * manifest.shape.hidden)
    }

    func embed(_ ids: [Int]) -> [Float] {
        isPrompt = ids.count > 1
        return [Float](repeating: 0, count: ids.count * manifest.shape.hidden)
    }

    func makeCache() -> any DecoderCache { Cache() }

    func decode(_ embeddings: [Float], at position: Int, cache: any DecoderCache) async throws -> [Float] {
        try await Task.sleep(for: delay)
        var logits = [Float](repeating: 0, count: manifest.shape.vocabulary)
        let end = position + embeddings.count / manifest.shape.hidden
        if isPrompt { start = end }
        logits[script[max(min(end - start, script.count - 1), 0)]] = 1
        return logits
    }

    func trim() {}
}
