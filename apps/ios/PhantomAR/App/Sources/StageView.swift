import PhantomARCore
import PhotosUI
import SwiftUI

/// The picture with its pin and label, the state pill, and what is said over them.
struct StageView: View {
    let app: AppModel
    let sources: Sources
    let showInfo: () -> Void
    @State private var picked: PhotosPickerItem?

    var body: some View {
        ZStack {
            picture
            VStack(spacing: 12) {
                bar
                Spacer()
                if app.sourceKind == .ar { pinButton }
                if app.sourceKind != nil { ReachBar(app: app) }
            }
            .padding(12)
            if let loading = app.loading {
                LoadingCard(step: loading)
            } else if let notice = app.notice {
                NoticeCard(notice: notice, retry: { retry(notice) }, close: app.closeNotice)
            }
        }
        .frame(maxWidth: .infinity, maxHeight: .infinity)
        .background(Color.black)
        .clipped()
        .onChange(of: picked) { _, item in
            guard let item else { return }
            Task { await sources.show(item) }
        }
    }

    @ViewBuilder private var picture: some View {
        if let ar = sources.ar {
            ARStage(source: ar)
                .accessibilityHidden(true)
            Color.clear
                .contentShape(Rectangle())
                .onTapGesture { place in ar.pin(at: place) }
                .reaches(app)
                .accessibilityLabel("Camera, with answers pinned in the room")
                .accessibilityValue("\(app.reach.words). \(app.label.question) \(app.label.verdict.spoken)" as String)
        } else if let flat = sources.flat {
            FlatStage(app: app, source: flat)
        } else {
            Color.black
        }
    }

    private var bar: some View {
        HStack(spacing: 8) {
            StatePill(pill: app.pill)
            Spacer()
            if sources.canUseAR && sources.ar == nil {
                RoundButton(title: "Pin answers in the room", symbol: "arkit") { Task { await sources.open() } }
            }
            if sources.ar != nil || sources.isStill {
                RoundButton(title: "Plain camera", symbol: "camera") { Task { await sources.openCamera() } }
            }
            PhotosPicker(selection: $picked, matching: .images) {
                Image(systemName: "photo")
                    .font(.body.weight(.semibold))
                    .frame(width: 44, height: 44)
                    .background(Theme.glass)
                    .clipShape(Circle())
            }
            .accessibilityLabel("Use a picture instead of the camera")
            RoundButton(title: "About the model", symbol: "info", action: showInfo)
        }
        .foregroundStyle(Theme.ink)
    }

    /// The ray from the centre, for whoever cannot or does not want to tap a spot.
    private var pinButton: some View {
        Button("Pin at the centre") { sources.ar?.pinAtCentre() }
            .font(.body.weight(.semibold))
            .padding(.horizontal, 18)
            .frame(minHeight: 44)
            .background(Theme.glass)
            .clipShape(Capsule())
    }

    private func retry(_ notice: AppModel.Notice) {
        app.closeNotice()
        Task {
            if notice.subject == .model { await app.loadModel() } else { await sources.open() }
        }
    }
}

/// A flat picture: the camera's or one from the library, with the pin where it was tapped.
private struct FlatStage: View {
    let app: AppModel
    let source: FlatSource
    @ScaledMetric private var labelHeight = PinnedLabel.height

    var body: some View {
        GeometryReader { space in
            let stage = Size(width: space.size.width, height: space.size.height)
            ZStack(alignment: .topLeading) {
                source.view
                    .frame(width: space.size.width, height: space.size.height)
                Color.clear
                    .contentShape(Rectangle())
                    .onTapGesture { place in source.aim(at: Point(x: place.x, y: place.y)) }
                    .reaches(app)
                    .accessibilityLabel("Picture. Tap to point at something.")
                    .accessibilityValue(app.reach.words)
                    .accessibilityIdentifier("stage")
                if let framing = source.framing(on: stage) {
                    let point = framing.toStage(source.pin(in: framing))
                    Viewfinder(framing: framing, part: framing.part(around: source.pin(in: framing), app.shownReach))
                    PinnedLabel(label: app.label, isWorking: app.stage == .looking || app.stage == .answering)
                        .frame(width: min(300, space.size.width - 24))
                        .position(labelPlace(point, in: space.size))
                    Pin()
                        .position(x: point.x, y: point.y)
                }
            }
            .onAppear { source.stage = stage }
            .onChange(of: space.size) { _, size in source.stage = Size(width: size.width, height: size.height) }
        }
    }

    /// Below the pin, or above where there is more room; never beyond the edges.
    private func labelPlace(_ point: Point, in size: CGSize) -> CGPoint {
        let (half, tall) = (min(150, size.width / 2 - 12), labelHeight)
        let below = point.y + 40 + tall < size.height - ReachBar.height
        let x = min(max(point.x, half + 12), max(size.width - half - 12, half + 12))
        return CGPoint(x: x, y: below ? point.y + 30 + tall / 2 : max(point.y - 30 - tall / 2, tall / 2 + 62))
    }
}

private struct Viewfinder: View {
    let framing: Framing
    let part: PixelRect

    var body: some View {
        let (corner, size) = framing.onStage(part)
        RoundedRectangle(cornerRadius: 9)
            .strokeBorder(.white.opacity(0.85), lineWidth: 2)
            .frame(width: size.width, height: size.height)
            .position(x: corner.x + size.width / 2, y: corner.y + size.height / 2)
            .allowsHitTesting(false)
            .accessibilityHidden(true)
    }
}

private struct Pin: View {
    var body: some View {
        Circle()
            .fill(Theme.accent)
            .frame(width: 20, height: 20)
            .overlay(Circle().strokeBorder(.white, lineWidth: 3))
            .allowsHitTesting(false)
            .accessibilityHidden(true)
    }
}
