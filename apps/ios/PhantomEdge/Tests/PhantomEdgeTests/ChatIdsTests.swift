import Foundation
import XCTest

@testable import PhantomEdgeCore

/// Every id of conversations with every kind of tokenizer, beside those of the Python package's session.
final class ChatIdsTests: XCTestCase {
    func testIdsAreThePythonPackagesOwnWithEveryTokenizer() async throws {
        let folder = try Vectors.folder()
        let chats = try Json(Data(contentsOf: folder.appendingPathComponent("chats.json")))
        for (number, entry) in try XCTUnwrap(chats.items).enumerated() {
            let bundle = try ModelBundle(folder: folder.appendingPathComponent("chats/\(number)"), verify: false)
            let backend = CountingBackend(manifest: bundle.manifest)
            let session = try PhantomSession(bundle: bundle, backend: backend, pacing: .unpaced)
            for talk in try XCTUnwrap(entry["talks"]?.items) { try await check(session, talk, entry.text("name")) }
        }
    }

    func testLogitsThatAreNotFiniteEndTheAnswerWithAReason() async throws {
        let folder = try Vectors.folder().appendingPathComponent("chats/0")
        let bundle = try ModelBundle(folder: folder, verify: false)
        for value in [Float.nan, .infinity, -.infinity] {
            let backend = CountingBackend(manifest: bundle.manifest, spoiled: value)
            let chat = try PhantomSession(bundle: bundle, backend: backend, pacing: .unpaced).chat(about: nil)
            do {
                for try await _ in chat.ask("Why?", options: AnswerOptions(maxTokens: 3)) {}
                XCTFail("no error for \(value)")
            } catch PhantomEdgeError.runtime(let text) {
                XCTAssertTrue(text.contains("not finite"), text)
            }
        }
    }

    private func check(_ session: PhantomSession, _ talk: Json, _ name: String) async throws {
        let size = try talk["size"]?.items.map { try $0.map { try XCTUnwrap($0.integer) } }
        let image = try size.map {
            try RGBImage(width: $0[0], height: $0[1], pixels: [UInt8](repeating: 0, count: 3 * $0[0] * $0[1]))
        }
        let chat = session.chat(about: image)
        let (turns, options) = (try talk.strings("turns"), AnswerOptions(maxTokens: 3))
        for (question, expected) in zip(turns, try XCTUnwrap(talk["ids"]?.items)) {
            for try await _ in chat.ask(question, options: options) {}
            let ids = await chat.ids
            let all = try XCTUnwrap(expected.items).map { try XCTUnwrap($0.integer) }
            XCTAssertEqual(ids, all, "\(name), \(size ?? []): \(question)")
        }
        await chat.rewind()
        for try await _ in chat.ask(turns[1], options: options) {}
        let ids = await chat.ids
        XCTAssertEqual(ids, try talk.ints("rewound"), "\(name), \(size ?? []), rewound")
    }
}

/// Computes nothing: the likeliest next id follows from the length of the cache (`tests/support`).
struct CountingBackend: Backend {
    final class Cache: DecoderCache, Sendable {}

    let name = "counting"
    let manifest: Manifest
    var spoiled: Float?

    func encode(tile: [Float]) -> [Float] {
        [Float](repeating: 0, count: manifest.tiles.tokens * manifest.shape.hidden)
    }

    func embed(_ ids: [Int]) -> [Float] { [Float](repeating: 0, count: ids.count * manifest.shape.hidden) }

    func makeCache() -> any DecoderCache { Cache() }

    func decode(_ embeddings: [Float], at position: Int, cache: any DecoderCache) -> [Float] {
        let length = position + embeddings.count / manifest.shape.hidden
        var logits = [Float](repeating: 0, count: manifest.shape.vocabulary)
        logits[7 * length % 250] = 1
        if let spoiled { logits[3] = spoiled }
        return logits
    }

    func trim() {}
}
