import Foundation
import PhantomEdge
import XCTest

@testable import PhantomARCore

final class WordsTests: XCTestCase {
    func testNumbers() {
        XCTAssertEqual(Numbers.seconds(0.5), "0.50 s")
        XCTAssertEqual(Numbers.seconds(12.4), "12 s")
        XCTAssertEqual(Numbers.megabytes(9_400_000), "9.4 MB")
        XCTAssertEqual(Numbers.megabytes(123_600_000), "124 MB")
        XCTAssertEqual(Numbers.perSecond(9.9), "9.9 tok/s")
        XCTAssertEqual(Numbers.perSecond(41.5), "42 tok/s")
    }

    @MainActor func testALabelDoesNotFlickerWhileAnAnswerRepeats() async throws {
        var label = LabelText()
        let pixels = try RGBImage(width: 1, height: 1, pixels: [1, 2, 3])
        let frames = [Frame(pixels), Frame(pixels), Frame(pixels)]
        label.begin("What?", about: frames[0])
        label.stream("A")
        label.stream("A dog")
        label.finish(Verdict("A dog", note: "80 % sure"))
        label.begin("What?", about: frames[1])
        label.stream("A")
        XCTAssertEqual(label.frame, frames[1])
        XCTAssertEqual(label.verdict, Verdict("A dog", note: "80 % sure"))
        label.stream("A cat")
        XCTAssertEqual(label.answer, "A cat")
        label.begin("Where?", about: frames[2])
        XCTAssertEqual(label.answer, "")
    }

    func testWhatTheModelIsSureOf() {
        func verdict(_ probability: Double?, _ text: String = "red", stop: StopReason = .end) -> Verdict {
            let likelihoods = probability.map { [Likelihood(text: "red", probability: $0)] } ?? []
            let answer = Answer(text: text, speed: Speed(), stop: stop, likelihoods: likelihoods)
            return Verdict(answer, leastConfidence: 0.5)
        }
        XCTAssertEqual(verdict(nil), Verdict("red"))
        XCTAssertEqual(verdict(nil, ""), Verdict("No answer", answer: ""))
        XCTAssertEqual(verdict(nil, stop: .length), Verdict("red …", answer: "red"))
        XCTAssertEqual(verdict(0.5), Verdict("red", note: "50 % sure"))
        XCTAssertEqual(verdict(0.996), Verdict("red", note: "over 99 % sure"))
        XCTAssertEqual(verdict(1), Verdict("red", note: "100 % sure"))
        XCTAssertEqual(verdict(0.4999), Verdict("Not sure", answer: "red", note: "perhaps red, 50 %", isSure: false))
        let faint = Verdict("Not sure", answer: "red", note: "perhaps red, under 1 %", isSure: false)
        XCTAssertEqual(verdict(0.004), faint)
        XCTAssertEqual(verdict(0.4).spoken, "Not sure, perhaps red, 40 %")
    }

    func testHowSureTheModelIsOfAFreeAnswer() {
        func verdict(_ confidence: Double?, _ text: String = "red", stop: StopReason = .end) -> Verdict {
            let answer = Answer(text: text, speed: Speed(), stop: stop, confidence: confidence)
            return Verdict(answer, leastConfidence: 0.5)
        }
        XCTAssertEqual(verdict(nil), Verdict("red"))
        XCTAssertEqual(verdict(0.5), Verdict("red"), "only doubt is shown")
        let doubt = Verdict("Not sure", answer: "red", note: "perhaps red, 31 %", isSure: false)
        XCTAssertEqual(verdict(0.31), doubt)
        XCTAssertTrue(verdict(0.33).saysAlso(doubt))
        XCTAssertFalse(verdict(0.6).saysAlso(doubt))
        XCTAssertFalse(verdict(0.31, "blue").saysAlso(doubt))
        XCTAssertFalse(doubt.saysAlso(nil))
        for text in ["", " \n"] {
            XCTAssertEqual(verdict(0.2, text), Verdict("No answer", answer: ""))
            XCTAssertEqual(verdict(nil, text, stop: .length), Verdict("No answer", answer: ""))
        }
    }

    @MainActor func testALabelDoesNotFlickerWhileTheModelIsNotSure() async throws {
        var label = LabelText()
        let frame = Frame(try RGBImage(width: 1, height: 1, pixels: [1, 2, 3]))
        let doubt = Verdict("Not sure", answer: "A dog", note: "perhaps A dog, 31 %", isSure: false)
        label.begin("What?", about: frame)
        label.finish(doubt)
        label.begin("What?", about: frame)
        label.stream("A d")
        XCTAssertEqual(label.verdict, doubt)
        label.stream("A cat")
        XCTAssertEqual(label.answer, "A cat")
    }

    /// The files of settings that all three apps read alike, and those that all three refuse.
    func testSettingsAreReadAsEveryAppReadsThem() throws {
        let vectors = try XCTUnwrap(sharedVectors("app_config") as? [String: [[String: Any]]])
        func config(_ one: [String: Any]) throws -> AppConfig {
            try AppConfig(json: JSONSerialization.data(withJSONObject: XCTUnwrap(one["json"])))
        }
        for one in try XCTUnwrap(vectors["good"]) {
            let (made, expected) = (try config(one), try XCTUnwrap(one["expected"] as? [String: Any]))
            XCTAssertEqual(made.presets.map(\.question), expected["questions"] as? [String])
            XCTAssertEqual(made.presets.map { $0.shown(in: "en") }, expected["shown"] as? [String])
            XCTAssertEqual(made.leastConfidence, number(expected["leastConfidence"]))
            XCTAssertEqual(made.crop, number(expected["crop"]))
            XCTAssertEqual(made.accent.map { [$0.red, $0.green, $0.blue] }, expected["accent"] as? [Int])
            let sampling = try XCTUnwrap(expected["sampling"] as? [String: Any])
            XCTAssertEqual(made.sampling.temperature, number(sampling["temperature"]))
            XCTAssertEqual(made.sampling.topP, number(sampling["topP"]))
            XCTAssertEqual(Double(made.sampling.topK), number(sampling["topK"]))
            XCTAssertEqual(made.sampling.seed.map { Double($0) }, number(sampling["seed"]))
        }
        for one in try XCTUnwrap(vectors["bad"]) {
            let says = try XCTUnwrap(one["says"] as? String)
            XCTAssertThrowsError(try config(one), says) { error in
                let message = (error as? Failure)?.message ?? ""
                XCTAssertTrue(message.contains(says) && message.count <= 300, "\(error), not: \(says)")
            }
        }
    }

    private func number(_ value: Any?) -> Double? { (value as? NSNumber)?.doubleValue }

    func testWordsOnAnAccentCanBeRead() {
        XCTAssertEqual(Accent("#5EE0B7")?.isLight, true)
        XCTAssertEqual(Accent("#1040A0")?.isLight, false)
        for text in ["", "#", "#12345", "#1234567", "1234567", "#12345é", "#+12345"] {
            XCTAssertNil(Accent(text), text)
        }
    }

    func testSettingsAreReadAndEveryMistakeIsNamed() throws {
        XCTAssertEqual(config.presets, ["What is it?", "How many?"].map { Preset($0) })
        XCTAssertEqual(config.leastConfidence, 0.5)
        func preset(_ fields: String) -> String {
            #"{"title": "t", "presets": ["a", {"question": "b", \#(fields)}], "longestAnswer": 1}"#
        }
        let choices = try AppConfig(json: Data(preset(#""choices": ["red", "blue"]"#).utf8))
        XCTAssertEqual(choices.form(of: "b"), try Form(choices: ["red", "blue"]))
        XCTAssertNil(choices.form(of: "a"))
        let pattern = try AppConfig(json: Data(preset(#""regex": "\\d{1,3}""#).utf8))
        XCTAssertEqual(pattern.form(of: "b"), try Form(regex: #"\d{1,3}"#))
        let wrong = [
            ("[", "not JSON"), (#"{"title": "", "presets": ["a"], "longestAnswer": 1}"#, "title"),
            (#"{"presets": ["a"], "longestAnswer": 1}"#, "title is missing"),
            (#"{"title": "t", "presets": [], "longestAnswer": 1}"#, "1 to 12"),
            (#"{"title": "t", "presets": [" "], "longestAnswer": 1}"#, "question 1 must be text"),
            (
                #"{"title": "t", "presets": [{"choices": ["a"]}], "longestAnswer": 1}"#,
                "question 1: question is missing"
            ),
            (#"{"title": "t", "presets": ["a"], "longestAnswer": 0}"#, "longestAnswer"),
            (#"{"title": "t", "presets": ["a"], "longestAnswer": 1, "leastConfidence": 2}"#, "leastConfidence"),
            (#"{"title": "t", "presets": "a", "longestAnswer": 1}"#, "type"),
            (preset(#""choice": []"#), #"presets: question 2 has "choice""#),
            (preset(#""choices": "a""#), "question 2: choices is of another type"),
            (preset(#""choices": []"#), "0 choices"), (preset(#""choices": ["a", "a"]"#), "there twice"),
            (preset(#""choices": ["a"], "regex": "a""#), "choices and a regex"),
            (preset(#""regex": "a*?""#), "lazy"), (preset(#""regex": "(a{1000}){1000}""#), "too large"),
        ]
        for (json, word) in wrong {
            XCTAssertThrowsError(try AppConfig(json: Data(json.utf8)), json) { error in
                let message = (error as? Failure)?.message ?? ""
                XCTAssertTrue(message.contains(word) && message.count <= 300, "\(error)")
            }
        }
        XCTAssertThrowsError(try AppConfig(contentsOf: nil))
    }

    /// The settings of the project that this package is part of, where it is part of one.
    func testTheProjectsOwnSettings() throws {
        let path = ProcessInfo.processInfo.environment["PHANTOM_EDGE_APP_JSON"]
        guard let path else { throw XCTSkip("no app.json") }
        XCTAssertGreaterThan(try AppConfig(contentsOf: URL(fileURLWithPath: path)).presets.count, 3)
    }

    func testErrorsOfTheLibraryBecomeSentences() {
        let cases: [(any Error, Failure.Code, String)] = [
            (PhantomEdgeError.bundle("x is missing: copy it"), .bundle, "X is missing: copy it."),
            (PhantomEdgeError.input("no"), .question, "No."),
            (PhantomEdgeError.memory(needed: 3 << 20, available: 1 << 20), .memory, "The model needs 3 MiB, 1 MiB are"),
            (PhantomEdgeError.runtime("a\nb"), .model, "A."),
            (Failure(.ar, "kept"), .ar, "kept"),
        ]
        for (error, code, start) in cases {
            let failure = Failure(error)
            XCTAssertEqual(failure.code, code)
            XCTAssertTrue(failure.message.hasPrefix(start), failure.message)
        }
        XCTAssertEqual(Set(Failure.Code.allCases.map { Failure($0, "").title }).count, Failure.Code.allCases.count - 1)
    }
}
