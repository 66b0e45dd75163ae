// The part of UIKit that the app uses, as declared in iOS 18; nothing here runs.
@_exported import CoreGraphics
@_exported import Foundation
@_exported import ImageIO

public enum UIInterfaceOrientation: Int { case unknown, portrait, portraitUpsideDown, landscapeLeft, landscapeRight }

@MainActor open class UIResponder: NSObject {
    public override init() {}
}

@MainActor open class UIApplication: UIResponder {
    public static let didReceiveMemoryWarningNotification = Notification.Name("")
}

@MainActor public final class UIWindowScene {
    @MainActor public final class Geometry { public var interfaceOrientation: UIInterfaceOrientation { fatalError() } }
    public var effectiveGeometry: Geometry { fatalError() }
}

@MainActor public class UIWindow: UIView { public var windowScene: UIWindowScene? { nil } }

open class UIColor: NSObject, @unchecked Sendable {
    public static var black: UIColor { fatalError() }
    public init(white: CGFloat, alpha: CGFloat) {}
    public init(red: CGFloat, green: CGFloat, blue: CGFloat, alpha: CGFloat) {}
    public func setFill() {}
}

@MainActor open class CALayer: NSObject {}

@MainActor open class UIView: UIResponder {
    public struct AutoresizingMask: OptionSet, Sendable {
        public let rawValue: Int
        public init(rawValue: Int) { self.rawValue = rawValue }
        public static let flexibleWidth = AutoresizingMask(rawValue: 1)
        public static let flexibleHeight = AutoresizingMask(rawValue: 2)
    }
    public override init() {}
    public init(frame: CGRect) {}
    open var frame: CGRect = .zero
    open var bounds: CGRect = .zero
    open var autoresizingMask: AutoresizingMask = []
    open var backgroundColor: UIColor?
    open var layer: CALayer { fatalError() }
    open class var layerClass: AnyClass { CALayer.self }
    open var superview: UIView? { nil }
    open var subviews: [UIView] { [] }
    open var window: UIWindow? { nil }
    open func addSubview(_ view: UIView) {}
    open func removeFromSuperview() {}
    open func layoutSubviews() {}
    open func setNeedsLayout() {}
    open func didMoveToWindow() {}
}

public class UIImage: NSObject, @unchecked Sendable {
    public enum Orientation: Int { case up, down, left, right }
    public init(cgImage: CGImage, scale: CGFloat, orientation: Orientation) {}
    public init?(data: Data) { nil }
    public var cgImage: CGImage? { nil }
}

public class UIGraphicsImageRendererFormat: NSObject {
    public override init() {}
    public var scale: CGFloat = 1
}

public class UIGraphicsImageRendererContext: NSObject {
    public var cgContext: CGContext { fatalError() }
    public func fill(_ rect: CGRect) {}
}

public class UIGraphicsImageRenderer: NSObject {
    public init(size: CGSize, format: UIGraphicsImageRendererFormat) {}
    public func image(actions: (UIGraphicsImageRendererContext) -> Void) -> UIImage { fatalError() }
}
