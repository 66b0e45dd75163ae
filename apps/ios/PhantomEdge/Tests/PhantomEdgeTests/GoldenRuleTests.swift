import Foundation
import XCTest

@testable import PhantomEdgeCore

/// The rule of the golden file, on the good and spoiled files and outputs that all languages judge.
final class GoldenRuleTests: XCTestCase {
    private func vectors() throws -> (URL, Json) {
        let folder = try Vectors.folder()
        return (folder, try Json(Data(contentsOf: folder.appendingPathComponent("goldens.json"))))
    }

    func testVerdictsAreThePythonPackagesOwn() throws {
        let (folder, json) = try vectors()
        let cases = try XCTUnwrap(json["cases"]?.items)
        XCTAssertGreaterThan(cases.count, 20)
        for entry in cases {
            let (name, outputs) = try (entry.text("name"), XCTUnwrap(entry["computed"]))
            let computed = Golden.Computed(
                pixels: try floats(outputs["pixel_values"]), features: try floats(outputs["image_features"]),
                logits: try XCTUnwrap(outputs["logits"]?.items).map(floats))
            let checks = try Golden(file: folder.appendingPathComponent(entry.text("file"))).judge(computed)
            let expected = try XCTUnwrap(entry["checks"]?.members)
            XCTAssertEqual(checks.map { Array($0.name.utf8) }, expected.map(\.key), name)
            for (check, member) in zip(checks, expected) {
                let value = member.value.double ?? .infinity
                let isNear = check.value == value || abs(check.value - value) <= 1e-9 * abs(value)
                XCTAssertTrue(isNear, "\(name), \(check.name): \(check.value), expected \(value)")
            }
            XCTAssertEqual(checks.filter { !$0.passed }.map(\.name), try entry.strings("failing"), name)
        }
    }

    /// Null stands for a value that is not finite.
    private func floats(_ list: Json?) throws -> [Float] {
        try XCTUnwrap(list?.items).map { $0.double.map { Float($0) } ?? .nan }
    }

    func testDamagedFilesAreRefused() throws {
        let (folder, json) = try vectors()
        let names = try json.strings("refused")
        XCTAssertGreaterThan(names.count, 15)
        for name in names {
            XCTAssertThrowsError(try Golden(file: folder.appendingPathComponent(name)), name)
        }
    }
}
