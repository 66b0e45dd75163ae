import CoreGraphics
import PhantomARCore
import PhantomEdge
import SwiftUI

/// What the model looked at, a question and its answer. Of one height, so that text that streams in moves nothing.
struct PinnedLabel: View {
    let label: LabelText
    var isWorking = false
    /// Grows with the user's font; in the room, where the label is a texture, it does not.
    @ScaledMetric private var height = PinnedLabel.height

    static let height: CGFloat = 110

    var body: some View {
        HStack(alignment: .top, spacing: 12) {
            if let frame = label.frame { Thumbnail(image: frame.thumbnail) }
            words
        }
        .foregroundStyle(Theme.ink)
        .padding(EdgeInsets(top: 11, leading: 14, bottom: 12, trailing: 14))
        .frame(maxWidth: .infinity, alignment: .leading)
        .frame(height: height)
        .background(Theme.glass)
        .overlay(alignment: .top) { Theme.accent.frame(height: 3) }
        .clipShape(RoundedRectangle(cornerRadius: Theme.radius))
        .opacity(label.question.isEmpty ? 0 : 1)
        .allowsHitTesting(false)
        .accessibilityElement(children: .combine)
    }

    private var words: some View {
        VStack(alignment: .leading, spacing: 2) {
            Text(label.question)
                .font(.footnote)
                .foregroundStyle(Theme.faint)
                .lineLimit(1)
            Text(label.answer.isEmpty && isWorking ? "…" : label.answer)
                .font(.body.weight(.semibold))
                .foregroundStyle(label.verdict.isSure ? Theme.ink : Theme.warn)
                .lineLimit(label.verdict.note.isEmpty ? 3 : 2)
                .accessibilityIdentifier("answer")
            if !label.verdict.note.isEmpty {
                Text(label.verdict.note)
                    .font(.footnote)
                    .foregroundStyle(Theme.faint)
                    .lineLimit(1)
            }
            Spacer(minLength: 0)
        }
    }
}

/// The part of the picture that the model looked at.
private struct Thumbnail: View {
    let image: RGBImage

    var body: some View {
        if let drawn = image.cgImage {
            Image(decorative: drawn, scale: 1)
                .resizable()
                .scaledToFit()
                .frame(width: 72, height: 72)
                .clipShape(RoundedRectangle(cornerRadius: 6))
        }
    }
}

extension RGBImage {
    /// The same pixels for the screen.
    fileprivate var cgImage: CGImage? {
        guard let provider = CGDataProvider(data: Data(pixels) as CFData),
            let space = CGColorSpace(name: CGColorSpace.sRGB)
        else { return nil }
        return CGImage(
            width: width, height: height, bitsPerComponent: 8, bitsPerPixel: 24, bytesPerRow: 3 * width, space: space,
            bitmapInfo: [], provider: provider, decode: nil, shouldInterpolate: true, intent: .defaultIntent)
    }
}

struct StatePill: View {
    let pill: AppModel.Pill

    var body: some View {
        HStack(spacing: 9) {
            Circle()
                .fill(colour)
                .frame(width: 9, height: 9)
            Text(pill.words)
                .font(.subheadline.weight(.semibold).monospacedDigit())
                .lineLimit(1)
                .accessibilityIdentifier("state")
        }
        .padding(.horizontal, 14)
        .padding(.vertical, 6)
        .frame(minHeight: 36)
        .background(Theme.glass)
        .clipShape(Capsule())
        .accessibilityElement(children: .combine)
        .accessibilityLabel("State: \(pill.words)")
    }

    private var colour: Color {
        switch pill.tone {
        case .live: return Theme.accent
        case .busy: return Theme.busy
        case .calm: return Theme.faint
        case .bad: return Theme.warn
        }
    }
}

struct LoadingCard: View {
    let step: LoadingStep

    var body: some View {
        Card(edge: Theme.line) {
            Text(step.text).font(.headline)
            ProgressView(value: step.part)
            Text("Nothing that the camera sees leaves this device.")
                .font(.footnote)
                .foregroundStyle(Theme.faint)
        }
        .accessibilityIdentifier("loading")
    }
}

struct NoticeCard: View {
    let notice: AppModel.Notice
    let retry: () -> Void
    let close: () -> Void

    var body: some View {
        Card(edge: Theme.warn) {
            Text(notice.failure.title)
                .font(.headline)
                .accessibilityIdentifier("notice")
            Text(notice.failure.message)
            HStack {
                if notice.failure.canRetry { Button("Try again", action: retry) }
                if notice.failure.code == .cameraRefused, let settings = URL(string: "app-settings:") {
                    Link("Settings", destination: settings)
                }
                if notice.subject != .model { Button("Close", action: close) }
            }
            .buttonStyle(.bordered)
        }
    }
}

private struct Card<Content: View>: View {
    let edge: Color
    @ViewBuilder let content: Content

    var body: some View {
        VStack(alignment: .leading, spacing: 10) { content }
            .padding(16)
            .frame(maxWidth: 360, alignment: .leading)
            .background(Theme.panel)
            .overlay(alignment: .top) { edge.frame(height: 3) }
            .clipShape(RoundedRectangle(cornerRadius: Theme.radius))
            .padding(16)
    }
}
