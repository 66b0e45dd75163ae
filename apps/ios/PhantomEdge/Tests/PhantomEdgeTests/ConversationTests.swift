import XCTest

@testable import PhantomEdgeCore

/// Conversations over an exported bundle's own graphs, beside those of the Python package's session.
final class ConversationTests: XCTestCase {
    private func open(
        _ conditions: any DeviceConditions = UnlimitedConditions(), _ pacing: Pacing = .unpaced
    ) throws -> (PhantomSession, PipeBackend) {
        let (backend, bundle) = try PipeBackend.shared()
        let session = try PhantomSession(bundle: bundle, backend: backend, conditions: conditions, pacing: pacing)
        return (session, backend)
    }

    private var picture: RGBImage { get throws { try Vectors("transcripts").image("image.1") } }

    func testConversationsAreThePythonPackagesOwn() async throws {
        let vectors = try Vectors("transcripts")
        let (whole, _) = try open()
        var sizes: Set<Int> = []
        for (number, talk) in try XCTUnwrap(vectors.json.items).enumerated() {
            let image = talk["image"]?.flag == true ? try vectors.image("image.\(number)") : nil
            let session = try whole.atTileSize(talk.int("tile_size"))
            sizes.insert(session.tile.size)
            let chat = session.chat(about: image)
            for expected in try XCTUnwrap(talk["answers"]?.items) {
                let options = try AnswerOptions(maxTokens: expected.int("max_tokens"), stops: expected.strings("stops"))
                let answer = try await text(chat, expected.text("question"), options)
                let (ids, timing) = await (chat.ids, chat.timing)
                XCTAssertEqual(Array(answer.utf8), Array(try expected.text("text").utf8))
                XCTAssertEqual(ids, try expected.ints("ids"))
                XCTAssertEqual(timing.newTokens, try expected.int("new_tokens"))
                XCTAssertEqual(timing.stop?.rawValue, try expected.text("stop"))
            }
        }
        XCTAssertEqual(sizes, Set(whole.manifest.tileSizes.map(\.size)))
        XCTAssertEqual(sizes.count, 2)
    }

    func testAPictureTakesTheImageTokensOfTheChosenSize() async throws {
        let (session, backend) = try open()
        let small = try XCTUnwrap(session.manifest.tiles.others?.first)
        let chosen = try session.atTileSize(small.size)
        XCTAssertEqual(chosen.tile, small)
        XCTAssertEqual(session.tile.size, session.manifest.tiles.size)
        for (one, tokens) in [(session, session.manifest.tiles.tokens), (chosen, small.tokens)] {
            await backend.forgetCalls()
            let chat = one.chat(about: try picture, maxTiles: 1)
            _ = try await text(chat, "Is it red?", AnswerOptions(maxTokens: 1))
            let (ids, calls) = await (chat.ids, backend.calls)
            XCTAssertEqual(ids.count { $0 == session.manifest.ids.image }, tokens)
            XCTAssertEqual(calls.filter { $0 == "v" }.count, 1)
        }
        let report = try await chosen.selfTest()
        XCTAssertTrue(report.passed, "\(report)")
    }

    func testASizeThatTheBundleLacksIsRefusedByName() throws {
        let (session, backend) = try open()
        let sizes = session.manifest.tileSizes.map { String($0.size) }.joined(separator: ", ")
        let refusal = PhantomEdgeError.input(
            "the bundle has no tiles of 100 pixels: choose one of its sizes, \(sizes)")
        XCTAssertThrowsError(try session.atTileSize(100)) { XCTAssertEqual($0 as? PhantomEdgeError, refusal) }
        XCTAssertThrowsError(try PhantomSession(bundle: session.bundle, backend: backend, tileSize: 100)) {
            XCTAssertEqual($0 as? PhantomEdgeError, refusal)
        }
        let small = try XCTUnwrap(session.manifest.tiles.others?.first)
        XCTAssertEqual(
            try PhantomSession(bundle: session.bundle, backend: backend, tileSize: small.size).tile, small)
        XCTAssertEqual(try session.manifest.tileSize(ofValues: 3 * small.size * small.size), small)
        XCTAssertThrowsError(try session.manifest.tileSize(ofValues: 3 * 100 * 100)) {
            XCTAssertTrue("\($0)".hasPrefix("a tile has 30000 values, not 3x"), "\($0)")
        }
    }

    func testASecondQuestionComputesItselfOnly() async throws {
        let (session, backend) = try open()
        let chat = session.chat(about: try picture)
        _ = try await text(chat, "Is it red?", AnswerOptions(maxTokens: 2))
        let before = await chat.ids.count
        await backend.forgetCalls()
        _ = try await text(chat, "How many?", AnswerOptions(maxTokens: 1))
        let (calls, after) = await (backend.calls, chat.ids.count)
        XCTAssertEqual(calls, ["e\(after - before)", "d\(before)+\(after - before)"])
    }

    func testAfterARewindThePictureIsNotComputedAgain() async throws {
        let (session, backend) = try open()
        let chat = session.chat(about: try picture)
        _ = try await text(chat, "Is it red?", AnswerOptions(maxTokens: 3))
        await chat.rewind()
        await backend.forgetCalls()
        let second = try await text(chat, "How many?", AnswerOptions(maxTokens: 5))
        let (calls, timing) = await (backend.calls, chat.timing)
        XCTAssertFalse(calls.contains("v"))
        XCTAssertGreaterThan(timing.reusedTokens, session.manifest.tiles.tokens)
        let fresh = session.chat(about: try picture)
        let alone = try await text(fresh, "How many?", AnswerOptions(maxTokens: 5))
        let (rewound, expected) = await (chat.ids, fresh.ids)
        XCTAssertEqual(second, alone)
        XCTAssertEqual(rewound, expected)
    }

    func testLeavingTheLoopStopsTheAnswerAndTheNextQuestionFollows() async throws {
        let (session, _) = try open()
        let chat = session.chat()
        var pieces = 0
        for try await _ in chat.ask("What is 2+2?", options: AnswerOptions(maxTokens: 150)) {
            pieces += 1
            if pieces == 2 { break }
        }
        let next = try await text(chat, "And 3+3?", AnswerOptions(maxTokens: 3))
        let (ids, timing) = await (chat.ids, chat.timing)
        XCTAssertLessThan(ids.count, 150)
        XCTAssertEqual(timing.newTokens, 3)
        XCTAssertFalse(next.isEmpty)
    }

    func testQuestionsAskedAtOnceAreAnsweredOneAfterTheOther() async throws {
        let (session, _) = try open()
        let chat = session.chat()
        let options = AnswerOptions(maxTokens: 2)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<4 {
                group.addTask { _ = try await text(chat, "n\(number)?", options) }
            }
            try await group.waitForAll()
        }
        let ids = await chat.ids
        var stream = session.tokenizer.stream()
        let said = ids.map { stream.push($0) }.joined()
        func place(_ question: String) throws -> String.Index {
            try XCTUnwrap(said.range(of: question), said).lowerBound
        }
        let order = try (0..<4).map { "n\($0)?" }.sorted { try place($0) < place($1) }
        let alone = session.chat()
        for question in order { _ = try await text(alone, question, options) }
        let expected = await alone.ids
        XCTAssertEqual(ids, expected)
    }

    func testACancelledPrefillIsTakenBack() async throws {
        let (session, _) = try open()
        let chat = session.chat(about: try picture)
        let task = Task { try await text(chat, "Is it red?", AnswerOptions(maxTokens: 2)) }
        task.cancel()
        _ = try? await task.value
        let answer = try await text(chat, "Is it red?", AnswerOptions(maxTokens: 2))
        let alone = try await text(session.chat(about: try picture), "Is it red?", AnswerOptions(maxTokens: 2))
        XCTAssertEqual(answer, alone)
    }

    func testQuestionsThatDoNotFitAreRefusedBeforeAnyWork() async throws {
        let (session, backend) = try open()
        await backend.forgetCalls()
        let chat = session.chat(about: try picture)
        let bad: [(String, AnswerOptions)] = [
            (String(repeating: "many words ", count: 100), AnswerOptions()), ("<img>", AnswerOptions()),
            ("a", AnswerOptions(maxTokens: 0)), ("a", AnswerOptions(stops: [""])),
        ]
        for (question, options) in bad {
            do {
                _ = try await text(chat, question, options)
                XCTFail("answered \(question)")
            } catch PhantomEdgeError.input {}
        }
        let calls = await backend.calls
        XCTAssertEqual(calls, [])
    }

    func testFewerTilesLookLessClosely() async throws {
        let (session, backend) = try open()
        await backend.forgetCalls()
        _ = try await text(session.chat(about: try picture, maxTiles: 1), "Is it red?", AnswerOptions(maxTokens: 1))
        let calls = await backend.calls
        XCTAssertEqual(calls.filter { $0 == "v" }.count, 1)
    }

    func testAWarmDeviceStopsTheAnswerAndKeepsWhatWasSaid() async throws {
        let conditions = Warming(after: 3)
        let (session, _) = try open(conditions, Pacing(pauses: [.fair: .milliseconds(1)], stopsAt: .critical))
        let chat = session.chat()
        let answer = try await text(chat, "What is 2+2?", AnswerOptions(maxTokens: 50))
        let timing = await chat.timing
        XCTAssertEqual(timing.stop, .thermal)
        XCTAssertFalse(answer.isEmpty)
        do {
            _ = try await text(chat, "And?")
            XCTFail("answered")
        } catch PhantomEdgeError.runtime {}
    }

    func testMemoryIsAskedForBeforeLoading() throws {
        let (session, _) = try open()
        let needed = PhantomSession.memoryNeeded(for: session.bundle)
        XCTAssertGreaterThan(needed, session.manifest.cacheElements)
        XCTAssertNoThrow(try PhantomSession.checkMemory(for: session.bundle, Room(bytes: needed)))
        XCTAssertThrowsError(try PhantomSession.checkMemory(for: session.bundle, Room(bytes: needed - 1)))
    }

    func testTheSelfTestPassesAndFindsAFault() async throws {
        let (session, backend) = try open()
        let report = try await session.selfTest()
        XCTAssertTrue(report.passed, "\(report)")
        let wrong = try PhantomSession(bundle: session.bundle, backend: Wrong(backend), pacing: .unpaced)
        let failed = try await wrong.selfTest().checks.filter { !$0.passed }
        XCTAssertTrue(failed.contains { $0.name == "image_features.rms" && abs($0.value - 2) < 0.05 }, "\(failed)")
    }
}

/// Warms up by a level with each question, once `after` questions are over.
private final class Warming: DeviceConditions, @unchecked Sendable {
    private let lock = NSLock()
    private var left: Int

    init(after: Int) { left = after }

    var availableMemory: Int? { nil }

    var thermal: ThermalLevel {
        lock.lock()
        defer { lock.unlock() }
        left -= 1
        return ThermalLevel(rawValue: min(max(-left, 0), 3)) ?? .nominal
    }
}

private struct Room: DeviceConditions {
    let bytes: Int
    var thermal: ThermalLevel { .nominal }
    var availableMemory: Int? { bytes }
}

private func text(_ chat: Chat, _ question: String, _ options: AnswerOptions = AnswerOptions()) async throws -> String {
    var result = ""
    for try await piece in chat.ask(question, options: options) {
        XCTAssertFalse(piece.isEmpty)
        result += piece
    }
    return result
}
