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

    func testALabelDoesNotFlickerWhileAnAnswerRepeats() {
        var label = LabelText()
        label.begin("What?")
        label.stream("A")
        label.stream("A dog")
        label.finish("A dog")
        label.begin("What?")
        label.stream("A")
        XCTAssertEqual(label.answer, "A dog")
        label.stream("A cat")
        XCTAssertEqual(label.answer, "A cat")
        label.begin("Where?")
        XCTAssertEqual(label.answer, "")
        label.finish("")
        XCTAssertEqual(label.answer, "No answer")
    }

    func testSettingsAreReadAndEveryMistakeIsNamed() throws {
        XCTAssertEqual(config.presets, ["What is it?", "How many?"])
        let wrong = [
            ("[", "missing"), (#"{"title": "", "presets": ["a"], "longestAnswer": 1}"#, "title"),
            (#"{"title": "t", "presets": [], "longestAnswer": 1}"#, "1 to 12"),
            (#"{"title": "t", "presets": [" "], "longestAnswer": 1}"#, "1 to 12"),
            (#"{"title": "t", "presets": ["a"], "longestAnswer": 0}"#, "longestAnswer"),
            (#"{"title": "t", "presets": "a", "longestAnswer": 1}"#, "type"),
        ]
        for (json, word) in wrong {
            XCTAssertThrowsError(try AppConfig(json: Data(json.utf8))) { error in
                XCTAssertTrue((error as? Failure)?.message.contains(word) == true, "\(error)")
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
