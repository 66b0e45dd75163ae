import ARKit
import Combine
import PhantomARCore
import PhantomEdge
import RealityKit
import SwiftUI

/// AR: answers pinned in the room. A tap, or the ray from the centre, places a pin; the model sees the picture
/// around the newest pin, as far as `reach` says, first in the frame of the tap.
@MainActor final class ARSource: NSObject, PictureSource {
    static let mostPins = 8
    static let withoutSurface: Float = 0.8  // metres along the ray, where no surface was found

    let kind = SourceKind.ar
    var reach = Reach()
    let view = ARView(frame: .zero, cameraMode: .ar, automaticallyConfigureSession: false)
    private var pins: [ARPin] = []
    private var moment: (frame: CameraFrame, point: CGPoint)?
    private var frozen: Frame?
    private var isFrozen = false
    private var updates: (any Cancellable)?
    private let onAim: () -> Void
    private let onFailure: (Failure) -> Void

    init(onAim: @escaping () -> Void, onFailure: @escaping (Failure) -> Void) {
        (self.onAim, self.onFailure) = (onAim, onFailure)
        super.init()
        view.session.delegate = self
        updates = view.scene.subscribe(to: SceneEvents.Update.self) { [weak self] _ in
            MainActor.assumeIsolated { self?.fitPins() }
        }
        addCoaching()
    }

    func start() {
        let configuration = ARWorldTrackingConfiguration()
        configuration.planeDetection = [.horizontal, .vertical]
        view.session.run(configuration, options: [.resetTracking, .removeExistingAnchors])
    }

    func pinAtCentre() { pin(at: CGPoint(x: view.bounds.midX, y: view.bounds.midY)) }

    // MARK: PictureSource

    var hint: String? { localized(pins.isEmpty ? "Tap a surface to pin an answer" : "Point the camera at the pin") }

    func grab() async throws -> Frame? {
        if isFrozen, let frozen { return frozen }
        guard let (frame, point) = takeMoment() ?? newest() else { return nil }
        let stage = Size(width: view.bounds.width, height: view.bounds.height)
        let framing = Framing(stage: stage, picture: frame.size, fit: .cover)
        let part = framing.part(around: framing.toPicture(Point(x: point.x, y: point.y)), reach)
        let image = try await Task.detached(priority: .userInitiated) { try frame.cut(part) }.value
        frozen = Frame(image)
        return frozen
    }

    func freeze() { isFrozen = true }
    func thaw() { isFrozen = false }
    func show(_ label: LabelText) { pins.last?.show(label) }

    func close() {
        updates?.cancel()
        view.session.pause()
    }

    /// The frame of the tap, once.
    private func takeMoment() -> (CameraFrame, CGPoint)? {
        defer { moment = nil }
        return moment.map { ($0.frame, $0.point) }
    }

    /// The newest frame, while it shows the newest pin.
    private func newest() -> (CameraFrame, CGPoint)? {
        guard let pin = pins.last, let point = view.project(pin.position), view.bounds.contains(point),
            isInFront(pin.position), let frame = cameraFrame()
        else { return nil }
        return (frame, point)
    }

    private func cameraFrame() -> CameraFrame? {
        guard let frame = view.session.currentFrame else { return nil }
        let turned = view.window?.windowScene?.effectiveGeometry.interfaceOrientation ?? .portrait
        return CameraFrame(buffer: frame.capturedImage, orientation: Self.orientation(turned))
    }

    /// How the back camera's frame has to be turned to stand upright on the screen.
    private static func orientation(_ interface: UIInterfaceOrientation) -> CGImagePropertyOrientation {
        switch interface {
        case .landscapeRight: return .up
        case .landscapeLeft: return .down
        case .portraitUpsideDown: return .left
        default: return .right
        }
    }

    // MARK: Pins

    /// Puts a pin where the ray through a point of the view hits; the one before keeps its answer.
    func pin(at point: CGPoint) {
        let anchor: AnchorEntity
        if let hit = view.raycast(from: point, allowing: .estimatedPlane, alignment: .any).first {
            anchor = AnchorEntity(raycastResult: hit)
        } else if let ray = view.ray(through: point) {
            anchor = AnchorEntity(world: ray.origin + ray.direction * Self.withoutSurface)
        } else {
            return  // tracking has not begun
        }
        moment = cameraFrame().map { ($0, point) }
        view.scene.addAnchor(anchor)
        pins.append(ARPin(anchor))
        if pins.count > Self.mostPins { view.scene.removeAnchor(pins.removeFirst().anchor) }
        thaw()
        onAim()
    }

    /// Labels keep about the same size on the screen, near or far.
    private func fitPins() {
        let eye = view.cameraTransform.translation
        for pin in pins { pin.fit(distance: simd_distance(eye, pin.position)) }
    }

    private func isInFront(_ position: SIMD3<Float>) -> Bool {
        let camera = view.cameraTransform
        let ahead = camera.rotation.act(SIMD3<Float>(0, 0, -1))
        return simd_dot(position - camera.translation, ahead) > 0
    }

    private func addCoaching() {
        let coaching = ARCoachingOverlayView()
        coaching.session = view.session
        coaching.goal = .anyPlane
        coaching.frame = view.bounds
        coaching.autoresizingMask = [.flexibleWidth, .flexibleHeight]
        view.addSubview(coaching)
    }
}

extension ARSource: ARSessionDelegate {
    nonisolated func session(_ session: ARSession, didFailWithError error: any Error) {
        let refused = (error as? ARError)?.code == .cameraUnauthorized
        let reason = error.localizedDescription
        let failure =
            refused
            ? Failure(.cameraRefused, localized("Allow the camera for this app in Settings, or use a picture."))
            : Failure(.ar, localized("AR stopped: %1$@ The plain camera answers all the same.", reason))
        Task { @MainActor in self.onFailure(failure) }
    }
}

/// The AR view in SwiftUI.
struct ARStage: UIViewRepresentable {
    let source: ARSource

    func makeUIView(context: Context) -> UIView {
        let holder = UIView()
        holder.backgroundColor = .black
        return holder
    }

    // Another source brings another view.
    func updateUIView(_ holder: UIView, context: Context) {
        guard source.view.superview !== holder else { return }
        for before in holder.subviews { before.removeFromSuperview() }
        source.view.frame = holder.bounds
        source.view.autoresizingMask = [.flexibleWidth, .flexibleHeight]
        holder.addSubview(source.view)
    }
}
