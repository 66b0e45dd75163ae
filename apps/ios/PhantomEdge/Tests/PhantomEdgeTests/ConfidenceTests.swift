import Foundation
import XCTest

@testable import PhantomEdgeCore

/// The probability of a free answer, by the vectors that every language is held to.
final class ConfidenceTests: XCTestCase {
    func testItIsThatOfEveryLanguage() throws {
        let json = try Json(Data(contentsOf: Vectors.folder().appendingPathComponent("confidence.json")))
        let cases = try XCTUnwrap(json.items)
        XCTAssertGreaterThan(cases.count, 8)
        for one in cases {
            let (name, tokens) = (try one.text("name"), try one.ints("tokens"))
            let rows = try XCTUnwrap(one["rows"]?.items).map { row in
                try XCTUnwrap(row.items).map { Float(try XCTUnwrap($0.double)) }
            }
            var confidence = Confidence(ends: try one.ints("ends"))
            for (row, token) in zip(rows, tokens) { confidence.add(row, token) }
            let value = confidence.ended(rows.count > tokens.count ? rows[tokens.count] : nil)
            guard let expected = one["confidence"]?.double else {
                XCTAssertNil(value, name)
                continue
            }
            XCTAssertEqual(try XCTUnwrap(value, name), expected, accuracy: 1e-12 + 2e-5 * expected, name)
            XCTAssertLessThanOrEqual(try XCTUnwrap(value), 1, name)
        }
    }
}
