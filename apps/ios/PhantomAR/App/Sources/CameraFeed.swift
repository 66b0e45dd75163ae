import AVFoundation
import PhantomARCore
import PhantomEdge
import SwiftUI
import UIKit

/// The plain camera, for devices without AR and for whoever prefers it. Keeps the newest frame and no other.
@MainActor final class CameraFeed: Feed {
    let kind = SourceKind.camera
    let fit = Framing.Fit.cover
    private let session = AVCaptureSession()
    private let receiver = FrameReceiver()
    private let queue = DispatchQueue(label: "phantom-edge.camera")

    init() throws {
        guard let device = AVCaptureDevice.default(for: .video) else {
            throw Failure(.noCamera, localized("This device has no camera. Use a picture instead."))
        }
        guard let input = try? AVCaptureDeviceInput(device: device), session.canAddInput(input) else {
            throw Failure(.cameraBusy, localized("Another app uses the camera. Close it and try again."))
        }
        let output = AVCaptureVideoDataOutput()
        output.alwaysDiscardsLateVideoFrames = true
        output.videoSettings = [kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA]
        output.setSampleBufferDelegate(receiver, queue: queue)
        session.beginConfiguration()
        session.sessionPreset = .high
        session.addInput(input)
        if session.canAddOutput(output) { session.addOutput(output) }
        session.commitConfiguration()
        let capture = SessionBox(session)
        queue.async { capture.session.startRunning() }  // blocks until the camera runs
    }

    var size: Size? { receiver.latest?.size }

    var view: AnyView {
        let turn = { [session] (angle: CGFloat) in
            for connection in session.outputs.flatMap(\.connections)
            where connection.isVideoRotationAngleSupported(angle) {
                connection.videoRotationAngle = angle
            }
        }
        return AnyView(CameraPreview(session: session, onTurn: turn))
    }

    func cut(_ part: PixelRect) async throws -> RGBImage? {
        guard let frame = receiver.latest else { return nil }
        return try await Task.detached(priority: .userInitiated) { try frame.cut(part) }.value
    }

    func stop() {
        let capture = SessionBox(session)
        queue.async { capture.session.stopRunning() }
    }
}

/// Starting and stopping are the only calls that leave the main thread.
private struct SessionBox: @unchecked Sendable {
    let session: AVCaptureSession
    init(_ session: AVCaptureSession) { self.session = session }
}

private final class FrameReceiver: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate, @unchecked Sendable {
    private let lock = NSLock()
    private var newest: CameraFrame?

    var latest: CameraFrame? { lock.withLock { newest } }

    func captureOutput(
        _ output: AVCaptureOutput, didOutput sampleBuffer: CMSampleBuffer, from connection: AVCaptureConnection
    ) {
        guard let buffer = CMSampleBufferGetImageBuffer(sampleBuffer) else { return }
        // The connection turns frames upright.
        lock.withLock { newest = CameraFrame(buffer: buffer, orientation: .up) }
    }
}

/// The preview layer, and word of which way the interface is turned.
private struct CameraPreview: UIViewRepresentable {
    let session: AVCaptureSession
    let onTurn: (CGFloat) -> Void

    func makeUIView(context: Context) -> PreviewView {
        let view = PreviewView()
        view.preview?.session = session
        view.preview?.videoGravity = .resizeAspectFill
        view.onTurn = onTurn
        return view
    }

    func updateUIView(_ view: PreviewView, context: Context) {}
}

private final class PreviewView: UIView {
    var onTurn: ((CGFloat) -> Void)?

    override class var layerClass: AnyClass { AVCaptureVideoPreviewLayer.self }
    var preview: AVCaptureVideoPreviewLayer? { layer as? AVCaptureVideoPreviewLayer }

    override func layoutSubviews() {
        super.layoutSubviews()
        guard let orientation = window?.windowScene?.effectiveGeometry.interfaceOrientation else { return }
        let angle = Self.angle(orientation)
        if let connection = preview?.connection, connection.isVideoRotationAngleSupported(angle) {
            connection.videoRotationAngle = angle
        }
        onTurn?(angle)
    }

    override func didMoveToWindow() {
        super.didMoveToWindow()
        setNeedsLayout()
    }

    /// How far the sensor's picture is turned to stand upright, in degrees clockwise.
    private static func angle(_ orientation: UIInterfaceOrientation) -> CGFloat {
        switch orientation {
        case .landscapeRight: return 0
        case .landscapeLeft: return 180
        case .portraitUpsideDown: return 270
        default: return 90
        }
    }
}
