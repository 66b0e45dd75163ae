/// An upright picture of 8-bit RGB.
public struct RGBImage: Equatable, Sendable {
    /// The most pixels a picture may have, as in the Python package.
    public static let pixelLimit = 64 << 20

    public let width: Int
    public let height: Int
    /// `[height, width, 3]`.
    public let pixels: [UInt8]

    /// Throws `PhantomEdgeError.input` when the sizes do not fit the pixels, or are beyond `pixelLimit`.
    public init(width: Int, height: Int, pixels: [UInt8]) throws {
        try Self.check(width, height, bytes: pixels.count, channels: 3)
        self.init(checked: width, height, pixels)
    }

    /// From RGBA with alpha not multiplied in, `[height, width, 4]`: transparency becomes white, as Pillow computes it.
    public init(width: Int, height: Int, rgba: [UInt8]) throws {
        try Self.check(width, height, bytes: rgba.count, channels: 4)
        var pixels = [UInt8](repeating: 0, count: width * height * 3)
        for i in 0..<width * height {
            let alpha = Int(rgba[4 * i + 3])
            for channel in 0..<3 {
                let sum = (Int(rgba[4 * i + channel]) * alpha + 255 * (255 - alpha) + 0x80) << 7
                pixels[3 * i + channel] = UInt8(((sum >> 8) + sum) >> 15)
            }
        }
        self.init(checked: width, height, pixels)
    }

    init(checked width: Int, _ height: Int, _ pixels: [UInt8]) {
        (self.width, self.height, self.pixels) = (width, height, pixels)
    }

    /// Turned and mirrored as an EXIF orientation of 1 to 8 asks for; any other value leaves it as it is.
    public func upright(exifOrientation: Int) -> RGBImage {
        // Where the pixel at (x, y) of the result lies here.
        let (w, h) = (width - 1, height - 1)
        switch exifOrientation {
        case 2: return rearranged(width, height) { (w - $0, $1) }
        case 3: return rearranged(width, height) { (w - $0, h - $1) }
        case 4: return rearranged(width, height) { ($0, h - $1) }
        case 5: return rearranged(height, width) { ($1, $0) }
        case 6: return rearranged(height, width) { ($1, h - $0) }
        case 7: return rearranged(height, width) { (w - $1, h - $0) }
        case 8: return rearranged(height, width) { (w - $1, $0) }
        default: return self
        }
    }

    /// The pixels of a rectangle that is inside.
    func part(atX x: Int, y: Int, width: Int, height: Int) -> RGBImage {
        var part: [UInt8] = []
        part.reserveCapacity(width * height * 3)
        for row in y..<y + height {
            let start = (row * self.width + x) * 3
            part += pixels[start..<start + width * 3]
        }
        return RGBImage(checked: width, height, part)
    }

    private func rearranged(_ newWidth: Int, _ newHeight: Int, _ source: (Int, Int) -> (Int, Int)) -> RGBImage {
        var result = [UInt8](repeating: 0, count: pixels.count)
        for y in 0..<newHeight {
            for x in 0..<newWidth {
                let (fromX, fromY) = source(x, y)
                let (to, from) = ((y * newWidth + x) * 3, (fromY * width + fromX) * 3)
                for channel in 0..<3 { result[to + channel] = pixels[from + channel] }
            }
        }
        return RGBImage(checked: newWidth, newHeight, result)
    }

    private static func check(_ width: Int, _ height: Int, bytes: Int, channels: Int) throws {
        guard width > 0, height > 0, width <= pixelLimit, height <= pixelLimit, width * height <= pixelLimit else {
            throw PhantomEdgeError.input(
                "a picture of \(width)x\(height): give one of 1 to \(pixelLimit >> 20) megapixels")
        }
        guard bytes == width * height * channels else {
            throw PhantomEdgeError.input("\(bytes) bytes are no \(width)x\(height) picture of \(channels) channels")
        }
    }
}
