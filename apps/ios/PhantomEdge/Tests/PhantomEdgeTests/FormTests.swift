import Foundation
import XCTest

@testable import PhantomEdgeCore

/// Answers of a form, beside the shared patterns of all languages and the Python package's long way.
final class FormTests: XCTestCase {
    private func vectors() throws -> Json {
        try Json(Data(contentsOf: Vectors.folder().appendingPathComponent("forms.json")))
    }

    private func shared(_ key: String) throws -> [Json] { try XCTUnwrap(vectors()["shared"]?[key]?.items) }

    func testEveryPatternTakesTheTextsThatTheSharedVectorsSay() throws {
        let cases = try shared("cases")
        for json in cases {
            let pattern = try json.text("pattern")
            let automaton = try FormAutomaton(pattern)
            func read(_ text: String) -> FormAutomaton.State? {
                text.unicodeScalars.reduce(automaton.start as FormAutomaton.State?) { state, scalar in
                    state.flatMap { automaton.step($0, Int(scalar.value)) }
                }
            }
            for text in try json.strings("matches") { XCTAssertEqual(read(text)?.accepts, true, "\(pattern): \(text)") }
            for text in try json.strings("open") { XCTAssertEqual(read(text)?.accepts, false, "\(pattern): \(text)") }
            for text in try json.strings("dead") { XCTAssertNil(read(text), "\(pattern): \(text)") }
        }
        XCTAssertGreaterThan(cases.count, 100)
    }

    func testEverythingElseIsRefusedInOneLine() throws {
        let refused = try shared("refused")
        for json in refused {
            let pattern = try json.text("pattern")
            XCTAssertThrowsError(try Form(regex: pattern), pattern) { error in
                guard case .input(let line)? = error as? PhantomEdgeError else { return XCTFail("\(error)") }
                XCTAssertTrue(line.count <= 300 && !line.contains("\n"), line)
            }
        }
        XCTAssertGreaterThan(refused.count, 100)
        let wrong = [[], [""], ["a", "a"], [String(repeating: "x", count: 201)], (0...1000).map(String.init)]
        for choices in wrong { XCTAssertThrowsError(try Form(choices: choices)) }
        XCTAssertNoThrow(try Form(choices: ["\u{E9}", "e\u{301}"]), "one canonical form, two texts")
    }

    func testTokensThatMayFollowEndWithinACharacterToo() throws {
        let tokens = try XCTUnwrap(vectors()["shared"]?["tokens"])
        let pieces = try tokens.strings("pieces").map { hex -> [UInt8] in
            let digits = Array(hex)
            return stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16)! }
        }
        for json in try XCTUnwrap(tokens["cases"]?.items) {
            let pattern = try json.text("pattern")
            let masks = try TokenMasks(pattern, TokenBytes(pieces))
            let place = try json.ints("after").reduce(masks.start) { try XCTUnwrap(masks.advance($0, $1)) }
            let mask = masks.mask(place)
            let allowed = pieces.indices.filter { mask[$0 >> 6] >> UInt64($0 & 63) & 1 == 1 }
            XCTAssertEqual(allowed, try json.ints("allowed"), pattern)
            XCTAssertEqual(masks.accepts(place), json["end"]?.flag, pattern)
            let alone = pieces.indices.filter { masks.advance(place, $0) != nil }
            XCTAssertEqual(alone, allowed, "a walk over all tokens is each by itself")
            for seed in 0..<21 where !allowed.isEmpty || masks.accepts(place) {
                let logits = (0...pieces.count).map { Float(($0 * 7 + seed * 13) % 41) }  // the last is the end
                let constraint = PatternConstraint(masks, ends: [pieces.count], place: place)
                let best = try [true, false].map { isGreedy in
                    let limited = try constraint.limit(logits, isGreedy: isGreedy)
                    return limited.indices.max { limited[$0] < limited[$1] }
                }
                XCTAssertEqual(best[0], best[1], "the quick way is the long one")
            }
        }
    }

    func testSpacesThatTheDecoderDropsAreNoPartOfTheAnswer() throws {
        let tokens = TokenBytes([" yes", "yes", "  yes", " "].map { Array($0.utf8) })
        func allowed(_ pattern: String, _ dropped: Int) throws -> UInt64 {
            let masks = try TokenMasks(pattern, tokens, dropped: dropped)
            return masks.mask(masks.start)[0]
        }
        XCTAssertEqual(try allowed("yes", 0), 0b0010)
        XCTAssertEqual(try allowed("yes", 1), 0b1011)
        XCTAssertEqual(try allowed("yes", .max), 0b1011, "no more than one without need")
        XCTAssertEqual(try allowed(" yes", 1), 0b1100)
    }

    func testMasksOfAnAnswerCostTimeInProportionToItsLength() throws {
        let masks = try TokenMasks("(a+)+b", TokenBytes(["a", "aa", "b", "c"].map { Array($0.utf8) }))
        let end = try (0..<10_000).reduce(masks.start) { place, _ in try XCTUnwrap(masks.advance(place, 1)) }
        XCTAssertEqual(masks.mask(end), [0b0111])
    }

    func testAnswersOfAFormAreTheLikeliestThatFit() async throws {
        let session = try session()
        for json in try XCTUnwrap(vectors()["cases"]?.items) {
            let (question, texts, ids) = try (json.text("question"), json.strings("texts"), json.ints("ids"))
            let form = try json["pattern"]?.string.map { try Form(regex: $0) } ?? Form(choices: texts)
            let chat = session.chat(about: json["image"]?.flag == true ? try picture : nil)
            let answer = try await text(chat.ask(question, options: AnswerOptions(form: form)))
            let (timing, said) = await (chat.timing, chat.ids)
            XCTAssertEqual(Array(answer.utf8), Array(try json.text("answer").utf8))
            XCTAssertEqual(timing.stop, .end)
            XCTAssertEqual(timing.newTokens, ids.count)
            let confidence = try XCTUnwrap(json["confidence"]).double
            XCTAssertEqual(timing.confidence == nil, confidence == nil)
            if let confidence {
                XCTAssertEqual(timing.confidence ?? -1, confidence, accuracy: 1e-9 + 1e-3 * confidence)
            }
            _ = try await text(chat.ask("Why?", options: AnswerOptions(maxTokens: 1)))
            let later = await chat.ids
            XCTAssertEqual(Array(later[timing.promptTokens...].prefix(ids.count)), ids, "the next question follows")
            XCTAssertLessThanOrEqual(said.count, timing.promptTokens + ids.count)
            let sampling = try Sampling(temperature: 2, seed: 5)
            let options = AnswerOptions(sampling: sampling, form: form)
            let sampled = try await text(session.generate(question, options: options))
            XCTAssertTrue(texts.contains(sampled), sampled)
        }
    }

    func testTheLikelihoodOfChoicesIsThatOfEachByItself() async throws {
        let session = try session()
        for json in try XCTUnwrap(vectors()["cases"]?.items) where json["pattern"] == nil {
            let texts = try json.strings("texts")
            let chat = session.chat(about: json["image"]?.flag == true ? try picture : nil)
            let ranked = try await chat.rank(json.text("question"), among: texts)
            let likelihoods = try XCTUnwrap(json["probabilities"]?.items).map { try XCTUnwrap($0.double) }
            let expected = zip(texts, likelihoods).sorted { $0.1 > $1.1 }
            XCTAssertEqual(ranked.map(\.text), expected.map(\.0))
            for (one, other) in zip(ranked, expected) { XCTAssertEqual(one.probability, other.1, accuracy: 1e-6) }
            XCTAssertEqual(ranked.reduce(0) { $0 + $1.probability }, 1, accuracy: 1e-9)
        }
    }

    func testARankingLeavesTheConversationAsItWas() async throws {
        let session = try session()
        let options = AnswerOptions(maxTokens: 4)
        let (plain, ranked) = (session.chat(about: try picture), session.chat(about: try picture))
        for question in ["Is it red?", "How many?"] {
            _ = try await text(plain.ask(question, options: options))
        }
        for question in ["Is it red?", "How many?"] {
            let before = try await ranked.rank(question, among: ["one", "two"])
            let again = try await ranked.rank(question, among: ["one", "two"])
            XCTAssertEqual(before.map(\.text), again.map(\.text))
            XCTAssertEqual(before[0].probability, again[0].probability, accuracy: 1e-6)
            _ = try await text(ranked.ask(question, options: options))
        }
        let (expected, ids) = await (plain.ids, ranked.ids)
        XCTAssertEqual(ids, expected)
    }

    func testWhatCannotBeAnsweredIsRefusedBeforeAnyWork() async throws {
        let session = try session()
        let backend = try XCTUnwrap(session.backend as? PipeBackend)
        await backend.forgetCalls()
        let chat = session.chat(about: try picture)
        let control = try XCTUnwrap(session.tokenizer.controlTokens.min { $0.key < $1.key }).value
        let long = String(repeating: "many words ", count: 100)
        let wrong: [(String, [String], String)] = [
            ("Is it red?", ["yes", "yes"], "there twice"), (long, ["yes"], "the prompt needs"),
            ("Is it red?", ["yes", "a \(control)"], "the choice holds \(control)"),
            ("Is it red?", [String(repeating: "0123456789", count: 20)], "the prompt needs"),
        ]
        for (question, choices, words) in wrong {
            do {
                _ = try await chat.rank(question, among: choices)
                XCTFail("ranked \(choices)")
            } catch PhantomEdgeError.input(let line) {
                XCTAssertTrue(line.contains(words), line)
            }
        }
        let calls = await backend.calls
        XCTAssertEqual(calls, [])
    }

    private func session() throws -> PhantomSession {
        let (backend, bundle) = try PipeBackend.shared()
        return try PhantomSession(bundle: bundle, backend: backend, pacing: .unpaced)
    }

    private var picture: RGBImage { get throws { try Vectors("transcripts").image("image.1") } }

    private func text(_ answer: AsyncThrowingStream<String, any Error>) async throws -> String {
        var result = ""
        for try await piece in answer { result += piece }
        return result
    }
}
