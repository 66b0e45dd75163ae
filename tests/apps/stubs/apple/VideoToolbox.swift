// The part of VideoToolbox that the library uses; see CoreML.swift.
import CoreGraphics
import CoreVideo

@discardableResult
public func VTCreateCGImageFromCVPixelBuffer(
    _ pixelBuffer: CVPixelBuffer, options: CFDictionary?, imageOut: UnsafeMutablePointer<CGImage?>
) -> Int32 { fatalError() }
