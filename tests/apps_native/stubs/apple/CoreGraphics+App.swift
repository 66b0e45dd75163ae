// More of Core Graphics than the library uses; see tests/apps/stubs/apple.
@_exported import Foundation  // for CGRect, which is at home there on Linux

public typealias CFData = Data

public class CGDataProvider {
    public init?(data: CFData) { fatalError() }
}
public struct CGBitmapInfo: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}
public enum CGColorRenderingIntent { case defaultIntent }

extension CGImage {
    public convenience init?(
        width: Int, height: Int, bitsPerComponent: Int, bitsPerPixel: Int, bytesPerRow: Int, space: CGColorSpace,
        bitmapInfo: CGBitmapInfo, provider: CGDataProvider, decode: UnsafePointer<CGFloat>?, shouldInterpolate: Bool,
        intent: CGColorRenderingIntent
    ) { fatalError() }
    public func cropping(to rect: CGRect) -> CGImage? { fatalError() }
}

extension CGContext {
    public func fillEllipse(in rect: CGRect) { fatalError() }
}
