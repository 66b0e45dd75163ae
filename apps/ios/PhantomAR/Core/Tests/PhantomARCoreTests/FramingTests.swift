import PhantomEdge
import XCTest

@testable import PhantomARCore

final class FramingTests: XCTestCase {
    func testTheSquareIsTheLargestThatIsSeen() {
        // A 4:3 picture covers a tall stage: 960 of 1440 columns are seen.
        let camera = Size(width: 1440, height: 1080)
        let framing = Framing(stage: Size(width: 400, height: 450), picture: camera, fit: .cover)
        XCTAssertEqual(framing.square(around: Point(x: 720, y: 540)), Square(x: 240, y: 60, side: 960))
        XCTAssertEqual(framing.square(around: Point(x: 0, y: 0)), Square(x: 240, y: 0, side: 960))
        XCTAssertEqual(framing.square(around: Point(x: 9999, y: 9999)), Square(x: 240, y: 120, side: 960))
        let whole = Framing(stage: Size(width: 100, height: 400), picture: Size(width: 301, height: 77), fit: .contain)
        XCTAssertEqual(whole.square(around: Point(x: 150, y: 40)), Square(x: 112, y: 0, side: 76))
    }

    func testStageAndPictureAreInverses() {
        for fit in [Framing.Fit.cover, .contain] {
            let framing = Framing(
                stage: Size(width: 390, height: 844), picture: Size(width: 1440, height: 1920), fit: fit)
            for point in [Point(x: 700, y: 900), Point(x: 500, y: 1000)] {
                let there = framing.toPicture(framing.toStage(point))
                XCTAssertEqual(there.x, point.x, accuracy: 1e-9)
                XCTAssertEqual(there.y, point.y, accuracy: 1e-9)
            }
            let outside = framing.toPicture(Point(x: -500, y: 5000))
            XCTAssertTrue((0...1440).contains(outside.x) && (0...1920).contains(outside.y))
        }
    }

    /// Cutting on the sensor and turning gives what turning and cutting gives, for pictures turned by the library.
    func testTheSquareOnTheSensorIsTheOneOfTheUprightPicture() throws {
        let (width, height) = (12, 8)
        var pixels: [UInt8] = []
        for n in 0..<UInt8(width * height) { pixels += [n, n / 2, 255 - n] }
        let sensor = try RGBImage(width: width, height: height, pixels: pixels)
        for orientation in [1, 3, 6, 8] {
            let upright = sensor.upright(exifOrientation: orientation)
            let square = Square(x: 2, y: 4, side: 4)
            let there = square.onSensor(orientation: orientation, width: width, height: height)
            let turned = try cut(sensor, there).upright(exifOrientation: orientation)
            XCTAssertEqual(turned, try cut(upright, square), "orientation \(orientation)")
        }
    }

    private func cut(_ image: RGBImage, _ square: Square) throws -> RGBImage {
        let rows = (square.y..<square.y + square.side).flatMap { y in
            let start = (y * image.width + square.x) * 3
            return Array(image.pixels[start..<start + square.side * 3])
        }
        return try RGBImage(width: square.side, height: square.side, pixels: rows)
    }
}
