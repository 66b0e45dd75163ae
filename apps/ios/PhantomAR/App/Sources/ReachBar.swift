import PhantomARCore
import PhantomEdge
import SwiftUI

/// How much of the picture around the pin the model looks at, and the whole picture one tap away.
struct ReachBar: View {
    static let height = 56.0  // with what keeps it from the edge

    let app: AppModel

    var body: some View {
        HStack(spacing: 12) {
            Slider(value: size, in: Crop.sizes, step: 0.05) {
                Text("Around the pin")
            } onEditingChanged: { isMoving in
                if !isMoving { app.look(at: app.shownReach) }
            }
            .adjusts(app)
            .accessibilityValue(app.reach.words)
            .accessibilityIdentifier("reach")
            Toggle("Whole picture", isOn: whole)
                .toggleStyle(.button)
                .frame(minHeight: 44)
                .accessibilityIdentifier("whole-picture")
        }
        .font(.subheadline.weight(.semibold))
        .padding(.horizontal, 14)
        .frame(maxWidth: 420)
        .background(Theme.glass)
        .clipShape(Capsule())
        .disabled(!app.isReady)
    }

    private var size: Binding<Double> {
        Binding {
            app.shownReach.size
        } set: { size in
            app.look(at: Reach(size: size), isSettled: false)
        }
    }

    private var whole: Binding<Bool> {
        Binding {
            app.reach.isWhole
        } set: { isWhole in
            app.look(at: Reach(size: app.reach.size, isWhole: isWhole))
        }
    }
}

extension View {
    /// Two fingers, and a screen reader's swipes up and down, for more and less of the picture.
    func reaches(_ app: AppModel) -> some View {
        gesture(
            MagnifyGesture()
                .onChanged { value in app.look(at: app.reach.scaled(by: value.magnification), isSettled: false) }
                .onEnded { value in app.look(at: app.reach.scaled(by: value.magnification)) }
        )
        .adjusts(app)
    }

    /// A screen reader's swipes up and down for more and less of the picture.
    func adjusts(_ app: AppModel) -> some View {
        accessibilityAdjustableAction { direction in
            app.look(at: direction == .increment ? app.reach.more : app.reach.less)
        }
    }
}
