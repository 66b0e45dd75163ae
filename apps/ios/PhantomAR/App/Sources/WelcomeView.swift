import PhantomARCore
import PhotosUI
import SwiftUI

/// The first screen, before the system asks for the camera: what this is, that nothing leaves the device, what the model
/// knows, and a way on with a camera or without.
struct WelcomeView: View {
    let title: String
    /// A sentence of the model's own; nil where it says nothing.
    let knows: String?
    let useCamera: () -> Void
    let usePicture: (PhotosPickerItem) -> Void
    @State private var picked: PhotosPickerItem?

    var body: some View {
        ScrollView {
            VStack(alignment: .leading, spacing: 16) {
                Text(title)
                    .font(.title.weight(.bold))
                    .accessibilityAddTraits(.isHeader)
                Text("Point at something and ask. The answer appears where you point.")
                if let knows { Text(knows).accessibilityIdentifier("knows") }
                Text("Pictures, questions and answers stay on this device.")
                    .foregroundStyle(Theme.faint)
                Button(action: useCamera) { choice("Use the camera", symbol: "camera", isFirst: true) }
                    .accessibilityIdentifier("use-camera")
                PhotosPicker(selection: $picked, matching: .images) {
                    choice("Choose a picture", symbol: "photo", isFirst: false)
                }
                .accessibilityIdentifier("choose-picture")
            }
            .padding(24)
            .frame(maxWidth: 520, alignment: .leading)
            .frame(maxWidth: .infinity)
        }
        .background(Theme.ground.ignoresSafeArea())
        .foregroundStyle(Theme.ink)
        .onChange(of: picked) { _, item in
            if let item { usePicture(item) }
        }
    }

    private func choice(_ words: LocalizedStringKey, symbol: String, isFirst: Bool) -> some View {
        Label(words, systemImage: symbol)
            .font(.body.weight(.bold))
            .frame(maxWidth: .infinity, minHeight: 50)
            .background(isFirst ? Theme.accent : Theme.raised)
            .foregroundStyle(isFirst ? Theme.onAccent : Theme.ink)
            .clipShape(RoundedRectangle(cornerRadius: 12))
    }
}
