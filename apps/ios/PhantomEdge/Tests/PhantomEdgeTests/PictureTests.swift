import XCTest

@testable import PhantomEdgeCore

/// Pixels equal to Pillow's, byte for byte.
final class PictureTests: XCTestCase {
    func testTilesAreThePythonPackagesOwn() throws {
        let vectors = try Vectors()
        for (number, expected) in try vectors.cases("images").enumerated() {
            let image = try vectors.image("image.\(number)")
            let policy = try TilePolicy(size: expected.int("tile"), max: expected.int("max"))
            let grid = policy.grid(width: image.width, height: image.height)
            XCTAssertEqual(grid.columns, try expected.int("columns"))
            XCTAssertEqual(grid.rows, try expected.int("rows"))
            let tiles = policy.split(image)
            XCTAssertEqual(tiles.count, policy.count(width: image.width, height: image.height))
            XCTAssertEqual(tiles.flatMap(\.pixels), try vectors.tensors.bytes("tiles.\(number)"), "image \(number)")
            XCTAssertEqual(TilePolicy.planar(tiles[0]), try vectors.tensors.floats("pixels.\(number)"))
        }
    }

    func testGridsOfManySizes() throws {
        for row in try Vectors().cases("grids") {
            let n = try XCTUnwrap(row.items).map { try XCTUnwrap($0.integer) }
            let grid = TilePolicy(size: n[2], max: n[3]).grid(width: n[0], height: n[1])
            XCTAssertEqual([grid.columns, grid.rows], [n[4], n[5]], "\(n)")
        }
    }

    func testOrientationsAreThoseOfTheExifStandard() throws {
        let vectors = try Vectors()
        let image = try vectors.image("upright.1")
        for orientation in 1...8 {
            XCTAssertEqual(image.upright(exifOrientation: orientation), try vectors.image("upright.\(orientation)"))
        }
        XCTAssertEqual(image.upright(exifOrientation: 9), image)
    }

    func testTransparencyBecomesWhite() throws {
        let vectors = try Vectors()
        let rgba = try vectors.tensors.bytes("rgba")
        XCTAssertEqual(try RGBImage(width: 256, height: 16, rgba: rgba), try vectors.image("flattened"))
    }

    func testImpossiblePicturesAreRefused() {
        let sizes = [(0, 1, 0), (1, 0, 0), (2, 2, 11), (-1, -1, 3), (1 << 40, 1 << 40, 3), (8193, 8192, 3)]
        for (width, height, count) in sizes {
            let pixels = [UInt8](repeating: 0, count: count)
            XCTAssertThrowsError(try RGBImage(width: width, height: height, pixels: pixels)) { error in
                guard case PhantomEdgeError.input = error else { return XCTFail("\(error)") }
            }
        }
    }
}
