import XCTest

@testable import PhantomEdgeCore

/// Ids, text and prompts equal to the Python package's.
final class TextTests: XCTestCase {
    private func tokenizers() throws -> [(String, Json, Tokenizer)] {
        let vectors = try Vectors()
        return try XCTUnwrap(vectors.json["tokenizers"]?.members).map { member in
            let file = try vectors.folder.appendingPathComponent(member.value.text("file"))
            let name = String(decoding: member.key, as: UTF8.self)
            return (name, member.value, try Tokenizer(json: Data(contentsOf: file)))
        }
    }

    func testIdsAreThePythonPackagesOwn() throws {
        for (name, expected, tokenizer) in try tokenizers() {
            for entry in try XCTUnwrap(expected["texts"]?.items) {
                let text = try entry.text("text")
                XCTAssertEqual(try tokenizer.encode(text), try entry.ints("ids"), "\(name): \(text.debugDescription)")
            }
        }
    }

    func testStreamsGiveTheSameText() throws {
        for (name, expected, tokenizer) in try tokenizers() {
            for entry in try XCTUnwrap(expected["streams"]?.items) {
                let (ids, pieces) = try (entry.ints("ids"), entry.strings("pieces"))
                var stream = tokenizer.stream(skippingSpecial: try XCTUnwrap(entry["skip"]?.flag))
                let streamed = ids.map { stream.push($0) } + [stream.finish()]
                XCTAssertEqual(Array(streamed.joined().utf8), Array(pieces.joined().utf8), "\(name): \(ids)")
                guard entry["timed"]?.flag == true else { continue }
                XCTAssertEqual(streamed.map { Array($0.utf8) }, pieces.map { Array($0.utf8) }, "\(name): \(ids)")
            }
        }
    }

    func testUnknownTokenizersAreRefused() throws {
        let vectors = try Vectors()
        for file in try vectors.json.strings("unknown_tokenizers") {
            let data = try Data(contentsOf: vectors.folder.appendingPathComponent(file))
            XCTAssertThrowsError(try Tokenizer(json: data), file) { error in
                guard case PhantomEdgeError.bundle = error else { return XCTFail("\(file): \(error)") }
            }
        }
    }

    func testPromptsAreThePythonPackagesOwn() throws {
        for entry in try Vectors().cases("prompts") {
            let template = try template(XCTUnwrap(entry["template"]))
            let question = try entry.text("question")
            let whole = try template.opening(imageTokens: entry["image_tokens"]?.integer) + template.asking(question)
            XCTAssertEqual(whole, try entry.text("text"))
            XCTAssertEqual(try template.next(question), try entry.text("next"))
            XCTAssertEqual(template.markers, try entry.strings("markers"))
        }
    }

    func testMarkersInAQuestionAreRefused() throws {
        let entry = try XCTUnwrap(try Vectors().cases("prompts").first)
        let template = try template(XCTUnwrap(entry["template"]))
        // A combining mark after the marker hides it from a comparison of whole characters, not from the tokenizer.
        for marker in template.markers + ["<image>"] {
            for question in [marker, "a\(marker)b", "\(marker)\u{301}"] {
                XCTAssertThrowsError(try template.asking(question), question)
                XCTAssertThrowsError(try template.next(question), question)
            }
        }
    }

    func testControlTokensInAQuestionAreRefusedInTheSameWords() throws {
        let entry = try XCTUnwrap(try Vectors().cases("prompts").first { try $0["template"]?.text("name") == "chatml" })
        let template = try template(XCTUnwrap(entry["template"]))
        for (name, expected, tokenizer) in try tokenizers() {
            let control = try XCTUnwrap(expected["control"]?.items).map {
                (try XCTUnwrap($0["id"]?.integer), try $0.text("token"))
            }
            XCTAssertEqual(tokenizer.controlTokens, Dictionary(uniqueKeysWithValues: control), name)
            let prompts = PromptEncoder(template: template, tokenizer: tokenizer)
            let refusals = try XCTUnwrap(expected["refusals"]?.items)
            XCTAssertGreaterThanOrEqual(refusals.count, control.count, name)
            for refusal in refusals {
                let (question, line) = try (refusal.text("question"), refusal.text("line"))
                for attempt in [{ try prompts.first(question, imageTokens: 2) }, { try prompts.next(question) }] {
                    XCTAssertThrowsError(try attempt(), "\(name): \(question)") { error in
                        XCTAssertEqual((error as? PhantomEdgeError)?.localizedDescription, line, name)
                    }
                }
            }
        }
    }

    private func template(_ json: Json) throws -> PromptTemplate {
        let fields = try XCTUnwrap(json.members).map { member in
            (String(decoding: member.key, as: UTF8.self), try XCTUnwrap(member.value.string))
        }
        let data = try JSONSerialization.data(withJSONObject: Dictionary(uniqueKeysWithValues: fields))
        return try JSONDecoder().decode(PromptTemplate.self, from: data)
    }
}
