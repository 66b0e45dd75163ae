import Foundation
import XCTest

@testable import PhantomEdgeCore

/// The square around a point, by the vectors that every language is held to.
final class CropTests: XCTestCase {
    private struct Case {
        let x, y, size: Double
        let json: Json

        /// Numbers that JSON does not have are written as text.
        init(_ json: Json) throws {
            func number(_ value: Json?) throws -> Double {
                if let text = value?.string { return try XCTUnwrap(Double(text)) }
                return try XCTUnwrap(value?.double)
            }
            let point = try XCTUnwrap(json["point"]?.items)
            (x, y, size) = (try number(point[0]), try number(point[1]), try number(json["size"]))
            self.json = json
        }

        func crop() throws -> Crop {
            let picture = try json.ints("picture")
            return try Crop(aroundX: x, y: y, size: size, width: picture[0], height: picture[1])
        }
    }

    private func cases(_ key: String) throws -> [Case] {
        let json = try Json(Data(contentsOf: Vectors.folder().appendingPathComponent("crops.json")))
        return try XCTUnwrap(json[key]?.items).map(Case.init)
    }

    func testTheSharedVectors() throws {
        let cases = try cases("cases")
        for one in cases {
            let crop = try one.crop()
            XCTAssertEqual([crop.left, crop.top, crop.side], try one.json.ints("crop"), "\(one.json)")
        }
        XCTAssertGreaterThan(cases.count, 400)
    }

    func testWhatIsOutsideIsRefusedInOneLine() throws {
        let refused = try cases("refused")
        for one in refused {
            XCTAssertThrowsError(try one.crop()) { error in
                guard case .input(let line)? = error as? PhantomEdgeError else { return XCTFail("\(error)") }
                XCTAssertTrue(line.count <= 300 && line.contains("give "), line)
            }
        }
        XCTAssertGreaterThan(refused.count, 10)
        for (width, height) in [(0, 1), (1, 0), (-1, -1), (Int.max, Int.max)] {
            XCTAssertThrowsError(try Crop(aroundX: 0, y: 0, width: width, height: height))
        }
    }

    func testItIsThesePixels() throws {
        let (width, height) = (7, 5)
        let pixels = (0..<width * height).flatMap { [UInt8($0), UInt8($0 + 100), UInt8(200 - $0)] }
        let image = try RGBImage(width: width, height: height, pixels: pixels)
        let crop = try image.cropped(aroundX: 1, y: 0, size: 0.4)
        XCTAssertEqual(crop, try image.cropped(x: 5, y: 0, width: 2, height: 2))
        XCTAssertEqual(crop.pixels.enumerated().filter { $0.offset % 3 == 0 }.map(\.element), [5, 6, 12, 13])
        XCTAssertEqual(try image.cropped(x: 0, y: 0, width: width, height: height), image)
        for (x, y, w, h) in [(-1, 0, 1, 1), (0, 0, 8, 1), (6, 4, 1, 2), (0, 0, 0, 1), (1, 1, Int.max, 1)] {
            XCTAssertThrowsError(try image.cropped(x: x, y: y, width: w, height: h))
        }
    }
}
