import CoreGraphics
import CoreVideo
import ImageIO
import PhantomARCore
import PhantomEdge
import VideoToolbox

/// A camera's frame as it is kept until the model wants it. Nothing writes to it any more.
struct CameraFrame: @unchecked Sendable {
    let buffer: CVPixelBuffer
    let orientation: CGImagePropertyOrientation

    /// Of the upright picture.
    var size: Size {
        let (width, height) = (Double(CVPixelBufferGetWidth(buffer)), Double(CVPixelBufferGetHeight(buffer)))
        return orientation.rawValue > 4 ? Size(width: height, height: width) : Size(width: width, height: height)
    }

    /// A part of the upright picture. Only that is turned and converted: a frame has twelve megapixels or so.
    func cut(_ part: PixelRect) throws -> RGBImage {
        var whole: CGImage?
        VTCreateCGImageFromCVPixelBuffer(buffer, options: nil, imageOut: &whole)
        let there = part.onSensor(
            orientation: Int(orientation.rawValue), width: CVPixelBufferGetWidth(buffer),
            height: CVPixelBufferGetHeight(buffer))
        let area = CGRect(x: there.x, y: there.y, width: there.width, height: there.height)
        guard let pixels = whole?.cropping(to: area) else {
            throw Failure(.picture, localized("The camera's frame has a format that cannot be read."))
        }
        return try RGBImage(pixels, orientation: orientation)
    }
}
