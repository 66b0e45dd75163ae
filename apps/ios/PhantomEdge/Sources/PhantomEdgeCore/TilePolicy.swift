/// How a picture is cut into square tiles: the rule that the model was trained with.
public struct TilePolicy: Equatable, Sendable {
    /// Side of a tile in pixels.
    public let size: Int
    /// The most tiles of the grid; the thumbnail comes on top.
    public let max: Int
    /// Whether more than one tile is followed by the whole picture as one more.
    public let thumbnail: Bool

    public init(size: Int, max: Int, thumbnail: Bool = true) {
        (self.size, self.max, self.thumbnail) = (size, max, thumbnail)
    }

    /// Columns and rows: the grid of at most `max` tiles whose aspect ratio is closest to the picture's.
    ///
    /// Of grids equally close the smallest wins, unless the picture has more than half the pixels of a larger one.
    public func grid(width: Int, height: Int) -> (columns: Int, rows: Int) {
        let all = (1...max).flatMap { columns in (1...Swift.max(1, max / columns)).map { (columns: columns, rows: $0) }
        }
        // Floating point, not fractions: the published code compares rounded quotients, and its ties are ours.
        let ratio = Double(width) / Double(height)
        let distances = all.map { abs(ratio - Double($0.columns) / Double($0.rows)) }
        let closest = distances.min() ?? 0
        let ties = zip(all, distances).filter { $0.1 == closest }.map(\.0)
        let ordered = ties.enumerated().sorted { a, b in
            let (first, second) = (a.element.columns * a.element.rows, b.element.columns * b.element.rows)
            return (first, a.offset) < (second, b.offset)
        }.map(\.element)
        let roomy = ordered.dropFirst().last { grid in
            Double(width * height) > 0.5 * Double(size * size * grid.columns * grid.rows)
        }
        return roomy ?? ordered[0]
    }

    /// Number of tiles that a picture of this size becomes.
    public func count(width: Int, height: Int) -> Int {
        let (columns, rows) = grid(width: width, height: height)
        return columns * rows + (thumbnail && columns * rows > 1 ? 1 : 0)
    }

    /// The tiles, row by row, and the thumbnail last.
    public func split(_ image: RGBImage) -> [RGBImage] {
        let (columns, rows) = grid(width: image.width, height: image.height)
        let whole = image.resized(toWidth: columns * size, height: rows * size)
        var tiles = (0..<rows).flatMap { row in
            (0..<columns).map { whole.part(atX: $0 * size, y: row * size, width: size, height: size) }
        }
        if thumbnail && tiles.count > 1 { tiles.append(image.resized(toWidth: size, height: size)) }
        return tiles
    }

    /// What the vision encoder takes: `[3, size, size]`, RGB in 0..1.
    public static func planar(_ tile: RGBImage) -> [Float] {
        let count = tile.width * tile.height
        return [Float](unsafeUninitializedCapacity: 3 * count) { buffer, used in
            tile.pixels.withUnsafeBufferPointer { pixels in
                for channel in 0..<3 {
                    for i in 0..<count { buffer[channel * count + i] = Float(pixels[3 * i + channel]) / 255 }
                }
            }
            used = 3 * count
        }
    }
}
