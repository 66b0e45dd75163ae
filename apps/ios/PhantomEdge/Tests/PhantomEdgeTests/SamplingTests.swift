import XCTest

@testable import PhantomEdgeCore

/// What may be chosen is the published rule's; what is chosen is the same on every platform.
final class SamplingTests: XCTestCase {
    func testTheNucleusAndItsDraws() throws {
        let vectors = try Vectors()
        for (place, expected) in try vectors.cases("sampling").enumerated() {
            let logits = try vectors.tensors.floats("logits.\(place)")
            let (temperature, topP) = try (number(expected, "temperature"), number(expected, "top_p"))
            let (topK, seed) = try (expected.int("top_k"), UInt64(expected.int("seed")))
            let sampling = try Sampling(temperature: temperature, topP: topP, topK: topK, seed: seed)
            let kept = sampling.nucleus(logits)
            XCTAssertEqual(kept.map(\.id), try expected.ints("ids"))
            let total = kept.reduce(0) { $0 + $1.weight }
            for (choice, value) in zip(kept, try XCTUnwrap(expected["probabilities"]?.items)) {
                XCTAssertEqual(choice.weight / total, try XCTUnwrap(value.double), accuracy: 1e-12)
            }
            var chooser = sampling.chooser()
            XCTAssertEqual((0..<20).map { _ in chooser.choose(logits) }, try expected.ints("draws"))
            var greedy = Sampling.greedy.chooser()
            XCTAssertEqual(greedy.choose(logits), try expected.int("greedy"))
        }
    }

    func testOfEqualLogitsTheFirstIsChosen() {
        var chooser = Sampling.greedy.chooser()
        XCTAssertEqual(chooser.choose([0, 2, 1, 2]), 1)
    }

    func testTheGenerator() throws {
        for member in try XCTUnwrap(try Vectors().json["splitmix"]?.members) {
            var random = SplitMix64(state: try XCTUnwrap(UInt64(String(decoding: member.key, as: UTF8.self))))
            for value in try XCTUnwrap(member.value.items) {
                XCTAssertEqual(String(random.next()), value.string)
            }
        }
    }

    func testValuesThatMakeNoDistributionAreRefused() {
        for (temperature, topP) in [(-1.0, 1.0), (0.0001, 1), (.infinity, 1), (.nan, 1), (1, 0), (1, 1.1), (1, .nan)] {
            XCTAssertThrowsError(try Sampling(temperature: temperature, topP: topP))
        }
        XCTAssertThrowsError(try Sampling(temperature: 1, topK: -1))
    }

    private func number(_ json: Json, _ key: String) throws -> Double { try XCTUnwrap(json[key]?.double) }
}
