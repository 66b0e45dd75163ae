/// A square of a picture, in whole pixels from its left and its top: what the model looks at where someone points. One
/// rule in every language.
public struct Crop: Equatable, Sendable {
    /// The square's side over the picture's shorter side.
    public static let defaultSize = 0.4
    public static let sizes = 0.1...1.0

    public let left: Int
    public let top: Int
    public let side: Int

    /// The square around a point of a picture of this size, moved into it where the point is near an edge.
    ///
    /// `x` and `y` are 0 to 1 from the left and the top, `size` is one of `sizes`. Throws `PhantomEdgeError.input` for
    /// numbers beyond that, NaN too.
    public init(aroundX x: Double, y: Double, size: Double = defaultSize, width: Int, height: Int) throws {
        guard (0...1).contains(x), (0...1).contains(y) else {
            throw PhantomEdgeError.input("the point \(x), \(y) is outside of the picture: give 0 to 1 for both")
        }
        guard Self.sizes.contains(size) else {
            throw PhantomEdgeError.input("the crop's size is \(size): give 0.1 to 1 of the picture's shorter side")
        }
        guard width > 0, height > 0, max(width, height) <= RGBImage.pixelLimit else {
            throw PhantomEdgeError.input("a picture of \(width)x\(height): give one of 1 to \(RGBImage.pixelLimit >> 20) megapixels")
        }
        side = max(1, Int((size * Double(min(width, height)) + 0.5).rounded(.down)))
        (left, top) = (Self.place(x, side, width), Self.place(y, side, height))
    }

    /// Where the square begins along one axis.
    private static func place(_ point: Double, _ side: Int, _ length: Int) -> Int {
        let start = Int((point * Double(length) - Double(side) / 2 + 0.5).rounded(.down))
        return min(max(start, 0), length - side)
    }
}

extension RGBImage {
    /// The pixels of a rectangle. Throws `PhantomEdgeError.input` when it is empty or not inside.
    public func cropped(x: Int, y: Int, width: Int, height: Int) throws -> RGBImage {
        guard x >= 0, y >= 0, width > 0, height > 0, width <= self.width - x, height <= self.height - y else {
            throw PhantomEdgeError.input(
                "\(width)x\(height) pixels from \(x), \(y) are not inside a picture of \(self.width)x\(self.height)")
        }
        return part(atX: x, y: y, width: width, height: height)
    }

    /// The square around a point, for a session to be asked about; see `Crop`.
    public func cropped(aroundX x: Double, y: Double, size: Double = Crop.defaultSize) throws -> RGBImage {
        let crop = try Crop(aroundX: x, y: y, size: size, width: width, height: height)
        return part(atX: crop.left, y: crop.top, width: crop.side, height: crop.side)
    }
}
