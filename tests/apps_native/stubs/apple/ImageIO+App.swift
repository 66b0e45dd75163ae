// More of ImageIO than the library uses; see tests/apps/stubs/apple.
import CoreGraphics
import Foundation

public func CGImageSourceCreateWithData(_ data: CFData, _ options: CFDictionary?) -> CGImageSource? { fatalError() }
