// More of Core Graphics than the library uses; see tests/apps/stubs/apple.
@_exported import Foundation  // for CGRect, which is at home there on Linux

public typealias CFData = Data

extension CGImage {
    public func cropping(to rect: CGRect) -> CGImage? { fatalError() }
}

extension CGContext {
    public func fillEllipse(in rect: CGRect) { fatalError() }
}
