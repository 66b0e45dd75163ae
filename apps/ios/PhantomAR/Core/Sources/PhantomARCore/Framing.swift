import PhantomEdge

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

/// A part of a picture, in whole pixels.
public struct PixelRect: Equatable, Sendable {
    public var x: Int
    public var y: Int
    public var width: Int
    public var height: Int

    public init(x: Int, y: Int, width: Int, height: Int) {
        (self.x, self.y, self.width, self.height) = (x, y, width, height)
    }

    /// Where a part of an upright picture lies in the sensor's own picture, which has to be turned as the EXIF
    /// `orientation` says to become the upright one. `width` and `height` are the sensor's.
    public func onSensor(orientation: Int, width: Int, height: Int) -> PixelRect {
        let turned = (width: self.height, height: self.width)
        switch orientation {
        case 3:
            return PixelRect(
                x: width - x - self.width, y: height - y - self.height, width: self.width, height: self.height)
        case 6: return PixelRect(x: y, y: height - x - self.width, width: turned.width, height: turned.height)
        case 8: return PixelRect(x: width - y - self.height, y: x, width: turned.width, height: turned.height)
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

    /// What the model looks at: the square around `centre` (picture pixels) inside what can be seen, or the largest one.
    /// The model gets one tile, and a rectangle that is squeezed into it is nothing that it has learnt from.
    public func part(around centre: Point, _ reach: Reach) -> PixelRect {
        let (left, width) = Self.whole(visible.from.x, visible.to.x)
        let (top, height) = Self.whole(visible.from.y, visible.to.y)
        let (x, y) = ((centre.x - Double(left)) / Double(width), (centre.y - Double(top)) / Double(height))
        let size = reach.isWhole ? Crop.sizes.upperBound : reach.size
        guard let crop = try? Crop(aroundX: clamp(x, 0, 1), y: clamp(y, 0, 1), size: size, width: width, height: height)
        else { return PixelRect(x: left, y: top, width: min(width, height), height: min(width, height)) }
        return PixelRect(x: left + crop.left, y: top + crop.top, width: crop.side, height: crop.side)
    }

    /// The part's corner and size on the stage, for the viewfinder.
    public func onStage(_ part: PixelRect) -> (corner: Point, size: Size) {
        let size = Size(width: Double(part.width) * scale, height: Double(part.height) * scale)
        return (toStage(Point(x: Double(part.x), y: Double(part.y))), size)
    }

    /// The first of the whole pixels between two edges and how many there are, at least one. The nudge keeps 639.9999…
    /// of a rounded scale from losing one.
    private static func whole(_ from: Double, _ to: Double) -> (first: Int, count: Int) {
        let first = Int((from - 1e-6).rounded(.up))
        return (first, max(1, Int((to + 1e-6).rounded(.down)) - first))
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
