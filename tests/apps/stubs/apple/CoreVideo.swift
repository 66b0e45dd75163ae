// The part of Core Video that the library uses; see CoreML.swift.
public class CVPixelBuffer {}
