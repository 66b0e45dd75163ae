import Foundation
import XCTest

@testable import PhantomEdgeCore

/// The rule of the golden file, on good and spoiled files and outputs, beside the Python package's judgement.
final class GoldenRuleTests: XCTestCase {
    func testJudgementsAreThePythonPackagesOwn() throws {
        let vectors = try Vectors("goldens")
        for (number, entry) in try vectors.cases("cases").enumerated() {
            let golden = try Golden(file: vectors.folder.appendingPathComponent(entry.text("file")))
            let rows = try vectors.tensors.shape("\(number).logits")
            let all = try vectors.tensors.floats("\(number).logits")
            let computed = Golden.Computed(
                pixels: try vectors.tensors.floats("\(number).pixels"),
                features: try vectors.tensors.floats("\(number).features"),
                logits: (0..<rows[0]).map { Array(all[$0 * rows[1]..<($0 + 1) * rows[1]]) })
            let what = try "\(entry.text("file")), \(entry.text("what"))"
            let (checks, expected) = (golden.judge(computed), try XCTUnwrap(entry["checks"]?.items))
            XCTAssertEqual(checks.map(\.name), try expected.map { try $0.text("name") }, what)
            for (check, other) in zip(checks, expected) {
                let value = other["value"]?.double ?? .infinity
                let isNear = check.value == value || abs(check.value - value) <= 1e-9 * abs(value)
                XCTAssertTrue(isNear, "\(what), \(check.name): \(check.value), expected \(value)")
                XCTAssertEqual(check.limit, try XCTUnwrap(other["limit"]?.double), what)
                XCTAssertEqual(check.passed, other["passed"]?.flag, "\(what), \(check.name)")
            }
        }
    }

    func testDamagedFilesAreRefused() throws {
        let vectors = try Vectors("goldens")
        let names = try vectors.json.strings("refused")
        XCTAssertGreaterThan(names.count, 20)
        for name in names {
            XCTAssertThrowsError(try Golden(file: vectors.folder.appendingPathComponent(name)), name)
        }
    }
}
