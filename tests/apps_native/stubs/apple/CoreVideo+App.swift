// More of Core Video than the library uses; see tests/apps/stubs/apple.
public let kCVPixelBufferPixelFormatTypeKey = ""
public let kCVPixelFormatType_32BGRA: UInt32 = 0

public func CVPixelBufferGetWidth(_ buffer: CVPixelBuffer) -> Int { fatalError() }
public func CVPixelBufferGetHeight(_ buffer: CVPixelBuffer) -> Int { fatalError() }
