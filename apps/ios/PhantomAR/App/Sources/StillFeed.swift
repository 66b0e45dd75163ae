import CoreGraphics
import PhantomARCore
import PhantomEdge
import SwiftUI

/// One picture, upright.
@MainActor final class StillFeed: Feed {
    let kind = SourceKind.picture
    let fit = Framing.Fit.contain
    private let image: CGImage
    private let orientation: CGImagePropertyOrientation

    init(_ image: CGImage, orientation: CGImagePropertyOrientation = .up) {
        (self.image, self.orientation) = (image, orientation)
    }

    var size: Size? {
        let (width, height) = (Double(image.width), Double(image.height))
        return orientation.rawValue > 4 ? Size(width: height, height: width) : Size(width: width, height: height)
    }

    var view: AnyView {
        let shown = UIImage(cgImage: image, scale: 1, orientation: UIImage.Orientation(orientation))
        return AnyView(Image(uiImage: shown).resizable().scaledToFit().accessibilityHidden(true))
    }

    func cut(_ part: PixelRect) async throws -> RGBImage? {
        let there = part.onSensor(orientation: Int(orientation.rawValue), width: image.width, height: image.height)
        let area = CGRect(x: there.x, y: there.y, width: there.width, height: there.height)
        guard let pixels = image.cropping(to: area) else { return nil }
        return try RGBImage(pixels, orientation: orientation)
    }

    func stop() {}
}

extension UIImage.Orientation {
    /// The same turn in UIKit's numbers. Mirrored pictures are rare enough to be shown turned only.
    init(_ orientation: CGImagePropertyOrientation) {
        switch orientation {
        case .down, .downMirrored: self = .down
        case .left, .leftMirrored: self = .left
        case .right, .rightMirrored: self = .right
        default: self = .up
        }
    }
}

/// What the stand-in engine looks at: a drawn scene, so that the app runs in a simulator, which has no camera.
enum DrawnScene {
    @MainActor static func image() -> CGImage {
        let size = CGSize(width: 720, height: 960)
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1
        let drawn = UIGraphicsImageRenderer(size: size, format: format).image { context in
            UIColor(white: 0.82, alpha: 1).setFill()
            context.fill(CGRect(origin: .zero, size: size))
            UIColor(red: 0.78, green: 0.2, blue: 0.18, alpha: 1).setFill()
            context.fill(CGRect(x: 160, y: 240, width: 300, height: 300))
            UIColor(red: 0.15, green: 0.35, blue: 0.75, alpha: 1).setFill()
            context.cgContext.fillEllipse(in: CGRect(x: 430, y: 580, width: 190, height: 190))
        }
        guard let image = drawn.cgImage else { preconditionFailure("UIKit drew no picture") }
        return image
    }
}
