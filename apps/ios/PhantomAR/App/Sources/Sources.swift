import ARKit
import AVFoundation
import Observation
import PhantomARCore
import PhotosUI
import SwiftUI

/// Which source is open: AR where the device has it, else the plain camera, or a picture of the user's.
@MainActor @Observable final class Sources {
    private(set) var ar: ARSource?
    private(set) var flat: FlatSource?
    var isStill: Bool { flat?.kind == .picture }
    var canUseAR: Bool { !Launch.isFake && ARWorldTrackingConfiguration.isSupported }
    @ObservationIgnored private let app: AppModel

    init(_ app: AppModel) { self.app = app }

    /// The best source of this device.
    func open() async {
        if Launch.isFake { return use(StillFeed(DrawnScene.image())) }
        guard await allowed() else { return }
        guard canUseAR else { return await openCamera() }
        let source = ARSource(
            onAim: { [weak self] in self?.app.aimed() }, onFailure: { [weak self] failure in self?.failed(failure) })
        (ar, flat) = (source, nil)
        app.use(source)
        source.start()
    }

    func openCamera() async {
        guard await allowed() else { return }
        do {
            use(try CameraFeed())
        } catch {
            failed(Failure(error))
        }
    }

    func show(_ item: PhotosPickerItem) async {
        guard let data = try? await item.loadTransferable(type: Data.self), let image = UIImage(data: data)?.cgImage
        else {
            return failed(Failure(.picture, localized("This picture cannot be read. Choose another one.")))
        }
        use(StillFeed(image, orientation: orientation(of: data)))
    }

    private func use(_ feed: any Feed) {
        let source = FlatSource(feed) { [weak self] in self?.app.aimed() }
        (ar, flat) = (nil, source)
        app.use(source)
    }

    private func failed(_ failure: Failure) {
        if failure.code != .picture { (ar, flat) = (nil, nil) }
        app.sourceFailed(failure)
    }

    private func allowed() async -> Bool {
        if await AVCaptureDevice.requestAccess(for: .video) { return true }
        failed(Failure(.cameraRefused, localized("Allow the camera for this app in Settings, or use a picture.")))
        return false
    }

    private func orientation(of data: Data) -> CGImagePropertyOrientation {
        guard let source = CGImageSourceCreateWithData(data as CFData, nil),
            let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
            let number = properties[kCGImagePropertyOrientation] as? UInt32
        else { return .up }
        return CGImagePropertyOrientation(rawValue: number) ?? .up
    }
}
