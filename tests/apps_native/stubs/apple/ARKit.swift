@_exported import CoreVideo
@_exported import UIKit

public class ARFrame: NSObject { public var capturedImage: CVPixelBuffer { fatalError() } }
public class ARConfiguration: NSObject { public class var isSupported: Bool { true } }
public class ARWorldTrackingConfiguration: ARConfiguration {
    public struct PlaneDetection: OptionSet, Sendable {
        public let rawValue: UInt
        public init(rawValue: UInt) { self.rawValue = rawValue }
        public static let horizontal = PlaneDetection(rawValue: 1)
        public static let vertical = PlaneDetection(rawValue: 2)
    }
    public override init() {}
    public var planeDetection: PlaneDetection = []
}
public protocol ARSessionDelegate: NSObjectProtocol {
    func session(_ session: ARSession, didFailWithError error: any Error)
}
public class ARSession: NSObject {
    public struct RunOptions: OptionSet, Sendable {
        public let rawValue: UInt
        public init(rawValue: UInt) { self.rawValue = rawValue }
        public static let resetTracking = RunOptions(rawValue: 1)
        public static let removeExistingAnchors = RunOptions(rawValue: 2)
    }
    public weak var delegate: (any ARSessionDelegate)?
    public var currentFrame: ARFrame? { nil }
    public func run(_ configuration: ARConfiguration, options: RunOptions = []) {}
    public func pause() {}
}
public struct ARError: Error {
    public enum Code { case cameraUnauthorized, other }
    public var code: Code { .other }
}
public class ARRaycastResult: NSObject {}
public class ARRaycastQuery: NSObject {
    public enum Target { case existingPlaneGeometry, existingPlaneInfinite, estimatedPlane }
    public enum TargetAlignment { case horizontal, vertical, any }
}
public class ARCoachingOverlayView: UIView {
    public enum Goal { case anyPlane }
    public var session: ARSession?
    public var goal = Goal.anyPlane
}
