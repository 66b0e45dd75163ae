import Foundation
import PhantomEdge
import XCTest

@testable import PhantomARCore

final class FramingTests: XCTestCase {
    func testTheSquareLiesAroundThePinInWhatIsSeen() {
        // A 4:3 picture covers a tall stage: 960 of 1440 columns are seen.
        let camera = Size(width: 1440, height: 1080)
        let framing = Framing(stage: Size(width: 400, height: 450), picture: camera, fit: .cover)
        func part(_ x: Double, _ y: Double, _ reach: Reach = Reach()) -> PixelRect {
            framing.part(around: Point(x: x, y: y), reach)
        }
        XCTAssertEqual(part(720, 540), PixelRect(x: 528, y: 348, width: 384, height: 384), "0.4 of 960")
        XCTAssertEqual(part(0, 0), PixelRect(x: 240, y: 0, width: 384, height: 384))
        XCTAssertEqual(part(9999, 9999), PixelRect(x: 816, y: 696, width: 384, height: 384))
        XCTAssertEqual(part(720, 540, Reach(size: 0)), PixelRect(x: 672, y: 492, width: 96, height: 96))
        XCTAssertEqual(part(720, 540, Reach(size: 1)), PixelRect(x: 240, y: 60, width: 960, height: 960))
        XCTAssertEqual(part(720, 540, Reach(isWhole: true)), PixelRect(x: 240, y: 60, width: 960, height: 960))
        XCTAssertEqual(part(0, 9999, Reach(isWhole: true)), PixelRect(x: 240, y: 120, width: 960, height: 960))
        let (corner, size) = framing.onStage(part(720, 540, Reach(isWhole: true)))
        XCTAssertEqual([corner.x, corner.y, size.width, size.height], [0, 25, 400, 400])
        let small = Framing(stage: Size(width: 100, height: 400), picture: Size(width: 301, height: 77), fit: .contain)
        XCTAssertEqual(
            small.part(around: Point(x: 150, y: 40), Reach(size: 1)), PixelRect(x: 112, y: 0, width: 77, height: 77))
        let pixel = Framing(stage: Size(width: 9, height: 9), picture: Size(width: 1, height: 1), fit: .contain)
        XCTAssertEqual(pixel.part(around: Point(x: 0, y: 1), Reach()), PixelRect(x: 0, y: 0, width: 1, height: 1))
    }

    func testWhatIsSeenIsThatOfTheRule() throws {
        let framing = Framing(
            stage: Size(width: 320, height: 240), picture: Size(width: 640, height: 480), fit: .contain)
        for (x, y, size) in [(0.5, 0.5, 0.4), (0, 1, 0.25), (0.123, 0.877, 0.75), (0.999, 0.001, 0.1)] {
            let crop = try Crop(aroundX: x, y: y, size: size, width: 640, height: 480)
            let part = framing.part(around: Point(x: x * 640, y: y * 480), Reach(size: size))
            XCTAssertEqual(part, PixelRect(x: crop.left, y: crop.top, width: crop.side, height: crop.side))
        }
    }

    /// The whole picture is the largest square of what is seen, in every app.
    func testTheWholePictureIsThatOfEveryApp() throws {
        let cases = try XCTUnwrap(sharedVectors("whole") as? [[String: Any]])
        XCTAssertGreaterThan(cases.count, 30)
        for one in cases {
            func pair(_ name: String) throws -> [Double] {
                try XCTUnwrap(one[name] as? [NSNumber]).map(\.doubleValue)
            }
            let (stage, picture, centre) = (try pair("stage"), try pair("picture"), try pair("centre"))
            let framing = Framing(
                stage: Size(width: stage[0], height: stage[1]), picture: Size(width: picture[0], height: picture[1]),
                fit: one["fit"] as? String == "cover" ? .cover : .contain)
            let part = framing.part(around: Point(x: centre[0], y: centre[1]), Reach(isWhole: true))
            let square = try pair("square").map { Int($0) }
            XCTAssertEqual([part.x, part.y, part.width, part.height], square + [square[2]], "\(one)")
        }
    }

    func testMoreAndLess() {
        var reach = Reach()
        XCTAssertEqual(reach.words, "40 % of the shorter side")
        for _ in 0..<3 { reach = reach.less }
        XCTAssertEqual(reach.words, "10 % of the shorter side")
        XCTAssertEqual(reach.less, reach)
        for _ in 0..<9 { reach = reach.more }
        XCTAssertEqual(reach.words, "100 % of the shorter side")
        reach = reach.more
        XCTAssertEqual(reach.words, "The whole picture")
        XCTAssertEqual(reach.more, reach)
        XCTAssertEqual(reach.less.words, "100 % of the shorter side")
        XCTAssertEqual(Reach(size: 0.4, isWhole: true).less, Reach())
        XCTAssertEqual(Reach().scaled(by: 2).size, 0.8)
        XCTAssertEqual(Reach().scaled(by: 100).size, 1)
        XCTAssertEqual(Reach().scaled(by: 0).size, 0.1)
        XCTAssertFalse(Reach(isWhole: true).scaled(by: 1.1).isWhole)
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
    func testThePartOnTheSensorIsTheOneOfTheUprightPicture() throws {
        let (width, height) = (12, 8)
        var pixels: [UInt8] = []
        for n in 0..<UInt8(width * height) { pixels += [n, n / 2, 255 - n] }
        let sensor = try RGBImage(width: width, height: height, pixels: pixels)
        for orientation in [1, 3, 6, 8] {
            let upright = sensor.upright(exifOrientation: orientation)
            for part in [PixelRect(x: 2, y: 4, width: 4, height: 4), PixelRect(x: 1, y: 2, width: 5, height: 3)] {
                let there = part.onSensor(orientation: orientation, width: width, height: height)
                let turned = try cut(sensor, there).upright(exifOrientation: orientation)
                XCTAssertEqual(turned, try cut(upright, part), "orientation \(orientation)")
            }
        }
    }

    private func cut(_ image: RGBImage, _ part: PixelRect) throws -> RGBImage {
        try image.cropped(x: part.x, y: part.y, width: part.width, height: part.height)
    }
}
