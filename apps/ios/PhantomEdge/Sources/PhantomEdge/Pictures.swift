#if canImport(CoreML) && canImport(CoreGraphics) && canImport(ImageIO)
    import CoreGraphics
    import Foundation
    import ImageIO
    import PhantomEdgeCore

    #if canImport(VideoToolbox)
        import CoreVideo
        import VideoToolbox
    #endif

    extension RGBImage {
        /// The picture of a file, upright; of an animation, the first frame. Its size is checked before it is decoded.
        public init(contentsOf file: URL) throws {
            let unreadable = PhantomEdgeError.input("\(file.lastPathComponent) is no picture that can be read")
            guard let source = CGImageSourceCreateWithURL(file as CFURL, nil),
                let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
                let width = properties[kCGImagePropertyPixelWidth] as? Int,
                let height = properties[kCGImagePropertyPixelHeight] as? Int
            else { throw unreadable }
            guard width > 0, height > 0, width <= Self.pixelLimit / height else {
                throw PhantomEdgeError.input("\(file.lastPathComponent) is \(width)x\(height): make it smaller")
            }
            guard let image = CGImageSourceCreateImageAtIndex(source, 0, nil) else { throw unreadable }
            let orientation = properties[kCGImagePropertyOrientation] as? UInt32 ?? 1
            try self.init(image, orientation: CGImagePropertyOrientation(rawValue: orientation) ?? .up)
        }

        /// A decoded picture, turned upright. Transparency becomes white.
        ///
        /// The pixels keep the numbers of the picture's own RGB colour space: the model was trained on pictures whose
        /// colour profile was not applied.
        public init(_ image: CGImage, orientation: CGImagePropertyOrientation = .up) throws {
            let (width, height) = (image.width, image.height)
            guard width > 0, height > 0, width <= Self.pixelLimit / height else {
                throw PhantomEdgeError.input("a picture of \(width)x\(height) cannot be used")
            }
            let own = image.colorSpace.flatMap { $0.model == .rgb && $0.supportsOutput ? $0 : nil }
            guard let space = own ?? CGColorSpace(name: CGColorSpace.sRGB),
                let context = CGContext(
                    data: nil, width: width, height: height, bitsPerComponent: 8, bytesPerRow: width * 4, space: space,
                    bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            else { throw PhantomEdgeError.input("a picture of this colour space cannot be used") }
            let area = CGRect(x: 0, y: 0, width: width, height: height)
            context.setFillColor(CGColor(red: 1, green: 1, blue: 1, alpha: 1))
            context.fill(area)
            context.draw(image, in: area)
            guard let data = context.data else { throw PhantomEdgeError.input("there is no room for the picture") }
            let drawn = UnsafeRawBufferPointer(start: data, count: width * height * 4)
            let pixels = [UInt8](unsafeUninitializedCapacity: width * height * 3) { buffer, used in
                for i in 0..<width * height {
                    for channel in 0..<3 { buffer[3 * i + channel] = drawn[4 * i + channel] }
                }
                used = width * height * 3
            }
            self = try RGBImage(width: width, height: height, pixels: pixels)
                .upright(exifOrientation: Int(orientation.rawValue))
        }

        #if canImport(VideoToolbox)
            /// A camera's frame, as ARKit and AVFoundation give them.
            public init(_ frame: CVPixelBuffer, orientation: CGImagePropertyOrientation = .up) throws {
                var image: CGImage?
                VTCreateCGImageFromCVPixelBuffer(frame, options: nil, imageOut: &image)
                guard let image else { throw PhantomEdgeError.input("a frame of this pixel format cannot be used") }
                try self.init(image, orientation: orientation)
            }
        #endif
    }
#endif
