import PhantomARCore
import SwiftUI

/// The colours of all three apps (apps/web/src/ui/style.css). Text on them has a contrast of at least 4.5.
enum Theme {
    static let ink = Color(red: 0.953, green: 0.965, blue: 0.976)
    static let faint = Color(red: 0.702, green: 0.749, blue: 0.796)
    static let ground = Color(red: 0.047, green: 0.067, blue: 0.090)
    static let panel = Color(red: 0.075, green: 0.102, blue: 0.133)
    static let raised = Color(red: 0.114, green: 0.149, blue: 0.192)
    static let line = Color(red: 0.173, green: 0.220, blue: 0.275)
    /// The one of `app.json`, or the app's own.
    static let accent = own.map(color) ?? Color(red: 0.369, green: 0.878, blue: 0.718)
    static let onAccent =
        own?.isLight ?? true ? Color(red: 0.024, green: 0.157, blue: 0.114) : Color(red: 1, green: 1, blue: 1)
    static let busy = Color(red: 1, green: 0.831, blue: 0.475)
    static let warn = Color(red: 1, green: 0.702, blue: 0.655)
    static let glass = ground.opacity(0.88)
    static let radius: CGFloat = 14

    private static let own = (try? Launch.config.get())?.accent

    private static func color(_ accent: Accent) -> Color {
        Color(red: Double(accent.red) / 255, green: Double(accent.green) / 255, blue: Double(accent.blue) / 255)
    }
}

/// A round button over the picture.
struct RoundButton: View {
    let title: LocalizedStringKey
    let symbol: String
    let action: () -> Void

    var body: some View {
        Button(action: action) {
            Image(systemName: symbol)
                .font(.body.weight(.semibold))
                .frame(width: 44, height: 44)
                .background(Theme.glass)
                .clipShape(Circle())
        }
        .foregroundStyle(Theme.ink)
        .accessibilityLabel(title)
    }
}
