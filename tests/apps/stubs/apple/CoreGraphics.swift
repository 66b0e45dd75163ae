// The part of Core Graphics that the library uses; see CoreML.swift.
import Foundation

public enum CGColorSpaceModel { case monochrome, rgb, cmyk }

public class CGColorSpace {
    public static let sRGB: CFString = ""
    public init?(name: CFString) { fatalError() }
    public var model: CGColorSpaceModel { fatalError() }
    public var supportsOutput: Bool { fatalError() }
}

public class CGImage {
    public var width: Int { fatalError() }
    public var height: Int { fatalError() }
    public var colorSpace: CGColorSpace? { fatalError() }
}

public enum CGImageAlphaInfo: UInt32 { case none, premultipliedLast, premultipliedFirst, last, first, noneSkipLast }

public class CGColor {
    public init(red: CGFloat, green: CGFloat, blue: CGFloat, alpha: CGFloat) { fatalError() }
}

public class CGContext {
    public init?(
        data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int, bytesPerRow: Int,
        space: CGColorSpace, bitmapInfo: UInt32
    ) { fatalError() }
    public var data: UnsafeMutableRawPointer? { fatalError() }
    public func setFillColor(_ color: CGColor) { fatalError() }
    public func fill(_ rect: CGRect) { fatalError() }
    public func draw(_ image: CGImage, in rect: CGRect) { fatalError() }
    public func makeImage() -> CGImage? { fatalError() }
}

// On Apple's systems Foundation has these.
public typealias CFString = String
public typealias CFURL = URL
public typealias CFDictionary = [AnyHashable: Any]
