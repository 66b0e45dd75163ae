@_exported import CoreGraphics
@_exported import CoreVideo
@_exported import UIKit

public class CMSampleBuffer {}
public func CMSampleBufferGetImageBuffer(_ buffer: CMSampleBuffer) -> CVPixelBuffer? { nil }

public class AVCaptureConnection: NSObject {
    public var videoRotationAngle: CGFloat = 0
    public func isVideoRotationAngleSupported(_ angle: CGFloat) -> Bool { true }
}
public class AVCaptureOutput: NSObject { public var connections: [AVCaptureConnection] { [] } }
public class AVCaptureInput: NSObject {}
public struct AVMediaType: Sendable { public static let video = AVMediaType() }

public class AVCaptureDevice: NSObject {
    public class func `default`(for type: AVMediaType) -> AVCaptureDevice? { nil }
    public class func requestAccess(for type: AVMediaType) async -> Bool { true }
}
public class AVCaptureDeviceInput: AVCaptureInput { public init(device: AVCaptureDevice) throws {} }

public protocol AVCaptureVideoDataOutputSampleBufferDelegate: NSObjectProtocol {
    func captureOutput(
        _ output: AVCaptureOutput, didOutput sampleBuffer: CMSampleBuffer, from connection: AVCaptureConnection)
}
public class AVCaptureVideoDataOutput: AVCaptureOutput {
    public override init() {}
    public var alwaysDiscardsLateVideoFrames = true
    public var videoSettings: [String: Any]!
    public func setSampleBufferDelegate(
        _ delegate: (any AVCaptureVideoDataOutputSampleBufferDelegate)?, queue: DispatchQueue?
    ) {}
}
public class AVCaptureSession: NSObject {
    public struct Preset: Sendable { public static let high = Preset() }
    public override init() {}
    public var sessionPreset = Preset.high
    public var outputs: [AVCaptureOutput] { [] }
    public func canAddInput(_ input: AVCaptureInput) -> Bool { true }
    public func canAddOutput(_ output: AVCaptureOutput) -> Bool { true }
    public func addInput(_ input: AVCaptureInput) {}
    public func addOutput(_ output: AVCaptureOutput) {}
    public func beginConfiguration() {}
    public func commitConfiguration() {}
    public func startRunning() {}
    public func stopRunning() {}
}
public struct AVLayerVideoGravity: Sendable { public static let resizeAspectFill = AVLayerVideoGravity() }
public class AVCaptureVideoPreviewLayer: CALayer {
    public var session: AVCaptureSession?
    public var videoGravity = AVLayerVideoGravity.resizeAspectFill
    public var connection: AVCaptureConnection? { nil }
}
