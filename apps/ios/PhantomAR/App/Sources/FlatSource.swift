import Observation
import PhantomARCore
import PhantomEdge
import SwiftUI

/// Where a flat picture comes from.
@MainActor protocol Feed: AnyObject {
    var kind: SourceKind { get }
    var fit: Framing.Fit { get }
    /// Of the upright picture; nil while there is none.
    var size: Size? { get }
    var view: AnyView { get }
    func cut(_ part: PixelRect) async throws -> RGBImage?
    func stop()
}

/// A flat picture with a pin on it: the plain camera, or a picture of the user's.
@MainActor @Observable final class FlatSource: PictureSource {
    /// Of the view that shows it, in points.
    var stage = Size(width: 0, height: 0)
    private let feed: any Feed
    /// In parts of the picture's width and height, so that it survives a turn of the device.
    private var at = Point(x: 0.5, y: 0.42)
    @ObservationIgnored var reach = Reach()
    @ObservationIgnored private var last: (part: PixelRect, frame: Frame)?
    @ObservationIgnored private var isFrozen = false
    @ObservationIgnored private let onAim: () -> Void

    init(_ feed: any Feed, onAim: @escaping () -> Void) { (self.feed, self.onAim) = (feed, onAim) }

    var kind: SourceKind { feed.kind }
    var hint: String? { nil }
    var view: AnyView { feed.view }

    func framing(on stage: Size) -> Framing? {
        guard let size = feed.size, stage.width > 0, stage.height > 0 else { return nil }
        return Framing(stage: stage, picture: size, fit: feed.fit)
    }

    /// The pin in picture pixels, kept on the visible part.
    func pin(in framing: Framing) -> Point {
        framing.toPicture(framing.toStage(Point(x: at.x * framing.picture.width, y: at.y * framing.picture.height)))
    }

    func aim(at point: Point) {
        guard let framing = framing(on: stage) else { return }
        let there = framing.toPicture(point)
        at = Point(x: there.x / framing.picture.width, y: there.y / framing.picture.height)
        isFrozen = false
        onAim()
    }

    func grab() async throws -> Frame? {
        if isFrozen, let last { return last.frame }
        guard let framing = framing(on: stage) else { return nil }
        let part = framing.part(around: pin(in: framing), reach)
        // A picture that does not change gives the same frame, so that the model looks at it once.
        if kind == .picture, let last, last.part == part { return last.frame }
        guard let image = try await feed.cut(part) else { return nil }
        let frame = Frame(image)
        last = (part, frame)
        return frame
    }

    func freeze() { isFrozen = true }
    func thaw() { isFrozen = false }
    func show(_ label: LabelText) {}  // the stage shows the app's own
    func close() { feed.stop() }
}
