extension RGBImage {
    /// Resized with Pillow's bicubic filter, byte for byte: antialiased, in its fixed-point arithmetic, rows before
    /// columns. The same picture gives the same tiles here and where the model was checked.
    public func resized(toWidth newWidth: Int, height newHeight: Int) -> RGBImage {
        var (result, columns) = (pixels, width)
        if newWidth != width {
            let filter = Bicubic(from: width, to: newWidth)
            result = filter.horizontally(result, rows: height)
            columns = newWidth
        }
        if newHeight != height {
            result = Bicubic(from: height, to: newHeight).vertically(result, columns: columns)
        }
        return RGBImage(checked: newWidth, newHeight, result)
    }
}

/// The weights of one axis, as in Pillow's `Resample.c`: for each output the first input and the weights from there on.
private struct Bicubic {
    private static let precision = 22  // 32 bits, less 8 of the pixel and 2 for what overshoots
    private static let support = 2.0
    private static let sharpness = -0.5

    private let input: Int
    private var starts: [Int] = []
    private var weights: [[Int32]] = []

    init(from input: Int, to output: Int) {
        self.input = input
        let scale = Double(input) / Double(output)
        let stretch = max(scale, 1)
        let support = Self.support * stretch
        for place in 0..<output {
            let centre = (Double(place) + 0.5) * scale
            let first = max(Int(centre - support + 0.5), 0)
            let end = min(Int(centre + support + 0.5), input)
            var exact = (first..<end).map { Self.curve((Double($0) - centre + 0.5) * (1 / stretch)) }
            let sum = exact.reduce(0, +)
            if sum != 0 { exact = exact.map { $0 / sum } }
            starts.append(first)
            weights.append(exact.map(Self.fixed))
        }
    }

    private static func curve(_ x: Double) -> Double {
        let x = abs(x)
        if x < 1 { return ((sharpness + 2) * x - (sharpness + 3)) * x * x + 1 }
        if x < 2 { return (((x - 5) * x + 8) * x - 4) * sharpness }
        return 0
    }

    private static func fixed(_ weight: Double) -> Int32 {
        Int32(weight * Double(1 << precision) + (weight < 0 ? -0.5 : 0.5))
    }

    private static func pixel(_ sum: Int32) -> UInt8 {
        UInt8(clamping: sum >> Int32(precision))
    }

    private static let half = Int32(1) << Int32(precision - 1)

    /// `[rows, input, 3]` to `[rows, output, 3]`.
    func horizontally(_ pixels: [UInt8], rows: Int) -> [UInt8] {
        let output = starts.count
        return filled(rows * output * 3) { result in
            pixels.withUnsafeBufferPointer { source in
                for place in 0..<output {
                    let (start, weights) = (starts[place] * 3, weights[place])
                    weights.withUnsafeBufferPointer { weights in
                        for row in 0..<rows {
                            var (red, green, blue) = (Self.half, Self.half, Self.half)
                            var at = row * input * 3 + start
                            for weight in weights {
                                red &+= weight &* Int32(source[at])
                                green &+= weight &* Int32(source[at + 1])
                                blue &+= weight &* Int32(source[at + 2])
                                at += 3
                            }
                            let to = (row * output + place) * 3
                            result[to] = Self.pixel(red)
                            result[to + 1] = Self.pixel(green)
                            result[to + 2] = Self.pixel(blue)
                        }
                    }
                }
            }
        }
    }

    /// `[input, columns, 3]` to `[output, columns, 3]`.
    func vertically(_ pixels: [UInt8], columns: Int) -> [UInt8] {
        let stride = columns * 3
        return filled(starts.count * stride) { result in
            pixels.withUnsafeBufferPointer { source in
                for place in 0..<starts.count {
                    let start = starts[place]
                    weights[place].withUnsafeBufferPointer { weights in
                        for column in 0..<stride {
                            var sum = Self.half
                            for (row, weight) in weights.enumerated() {
                                sum &+= weight &* Int32(source[(start + row) * stride + column])
                            }
                            result[place * stride + column] = Self.pixel(sum)
                        }
                    }
                }
            }
        }
    }

    private func filled(_ count: Int, _ fill: (UnsafeMutableBufferPointer<UInt8>) -> Void) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            fill(buffer)
            used = count
        }
    }
}
