/// A point; what of, in which units, says where it is used.
public struct Point: Equatable, Sendable {
    public var x: Double
    public var y: Double

    public init(x: Double, y: Double) { (self.x, self.y) = (x, y) }
}

public struct Size: Equatable, Sendable {
    public var width: Double
    public var height: Double

    public init(width: Double, height: Double) { (self.width, self.height) = (width, height) }
}

/// A square of whole picture pixels, even numbers: a camera's colours come in pairs of pixels.
public struct Square: Equatable, Sendable {
    public var x: Int
    public var y: Int
    public var side: Int

    public init(x: Int, y: Int, side: Int) { (self.x, self.y, self.side) = (x, y, side) }

    /// Where the square of an upright picture lies in the sensor's own picture, which has to be turned as the EXIF
    /// `orientation` says to become the upright one. `width` and `height` are the sensor's.
    public func onSensor(orientation: Int, width: Int, height: Int) -> Square {
        switch orientation {
        case 3: return Square(x: width - x - side, y: height - y - side, side: side)
        case 6: return Square(x: y, y: height - x - side, side: side)
        case 8: return Square(x: width - y - side, y: x, side: side)
        default: return self
        }
    }
}

/// A picture of some size, shown on a stage of another.
public struct Framing: Equatable, Sendable {
    /// `cover` fills the stage and hides what does not fit, as for a camera; `contain` shows the whole picture.
    public enum Fit: Sendable { case cover, contain }

    public let stage: Size
    public let picture: Size
    private let scale: Double
    private let left: Double
    private let top: Double

    public init(stage: Size, picture: Size, fit: Fit) {
        (self.stage, self.picture) = (stage, picture)
        let (across, down) = (stage.width / picture.width, stage.height / picture.height)
        scale = fit == .cover ? max(across, down) : min(across, down)
        left = (stage.width - picture.width * scale) / 2
        top = (stage.height - picture.height * scale) / 2
    }

    public func toStage(_ point: Point) -> Point { Point(x: left + point.x * scale, y: top + point.y * scale) }

    /// A point of the stage in picture pixels, moved to the nearest visible one.
    public func toPicture(_ point: Point) -> Point {
        let (from, to) = visible
        return Point(
            x: clamp((point.x - left) / scale, from.x, to.x), y: clamp((point.y - top) / scale, from.y, to.y))
    }

    /// The largest square that can be seen, as close around `centre` (picture pixels) as its edges allow.
    public func square(around centre: Point) -> Square {
        let (from, to) = visible
        let side = max(2, even(min(to.x - from.x, to.y - from.y)))
        let half = Double(side) / 2
        let x = even(clamp(centre.x - half, from.x, to.x - Double(side)))
        let y = even(clamp(centre.y - half, from.y, to.y - Double(side)))
        return Square(x: max(0, x), y: max(0, y), side: side)
    }

    /// The square's corner and side on the stage, for the viewfinder.
    public func onStage(_ square: Square) -> (corner: Point, side: Double) {
        (toStage(Point(x: Double(square.x), y: Double(square.y))), Double(square.side) * scale)
    }

    /// The part of the picture that is on the stage.
    private var visible: (from: Point, to: Point) {
        let from = Point(x: max(0, -left / scale), y: max(0, -top / scale))
        let to = Point(
            x: min(picture.width, (stage.width - left) / scale), y: min(picture.height, (stage.height - top) / scale))
        return (from, to)
    }
}

func clamp(_ value: Double, _ least: Double, _ most: Double) -> Double { min(max(value, least), max(least, most)) }

/// The even number at or below. The nudge keeps 639.9999… of a rounded scale from losing two pixels.
private func even(_ value: Double) -> Int { 2 * Int(((value + 1e-6) / 2).rounded(.down)) }
