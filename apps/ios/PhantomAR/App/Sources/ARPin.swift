import PhantomARCore
import RealityKit
import SwiftUI

/// A pin in the room with its label, which always faces the camera. Text streams into the label as a texture.
@MainActor final class ARPin {
    static let width: Float = 0.24  // metres, seen from 0.8 metres
    static let pointSize = CGSize(width: 300, height: PinnedLabel.height)
    static let pause = Duration.milliseconds(120)  // between two textures: faster than one reads

    let anchor: AnchorEntity
    private let board: ModelEntity
    private let holder = Entity()
    private var texture: TextureResource?
    private var next: LabelText?
    private var isDrawing = false

    init(_ anchor: AnchorEntity) {
        self.anchor = anchor
        let height = Self.width * Float(Self.pointSize.height / Self.pointSize.width)
        let corner = height * Float(Theme.radius / Self.pointSize.height)
        board = ModelEntity(mesh: .generatePlane(width: Self.width, height: height, cornerRadius: corner))
        board.components.set(BillboardComponent())
        board.position.y = 0.05 + height / 2
        board.isEnabled = false
        let green = UnlitMaterial(color: UIColor(Theme.accent))
        let stem = ModelEntity(mesh: .generateBox(width: 0.002, height: 0.05, depth: 0.002), materials: [green])
        stem.position.y = 0.025
        holder.addChild(ModelEntity(mesh: .generateSphere(radius: 0.008), materials: [green]))
        holder.addChild(stem)
        holder.addChild(board)
        anchor.addChild(holder)
    }

    var position: SIMD3<Float> { anchor.position(relativeTo: nil) }

    func fit(distance: Float) {
        holder.scale = SIMD3(repeating: min(max(distance / 0.8, 0.5), 5))
        // Upright in the room, whatever surface the ray hit.
        holder.setOrientation(simd_quatf(angle: 0, axis: [0, 1, 0]), relativeTo: nil)
    }

    /// Shows the newest text; what came while a texture was made is left out.
    func show(_ label: LabelText) {
        next = label
        guard !isDrawing else { return }
        isDrawing = true
        Task {
            while let label = next {
                next = nil
                await draw(label)
                try? await Task.sleep(for: Self.pause)
            }
            isDrawing = false
        }
    }

    private func draw(_ label: LabelText) async {
        let content = PinnedLabel(label: label, isWorking: true)
            .frame(width: Self.pointSize.width, height: Self.pointSize.height)
            .background(Theme.ground)
            .environment(\.colorScheme, .dark)
            .environment(\.dynamicTypeSize, .large)  // one walks nearer to read it
        let renderer = ImageRenderer(content: content)
        renderer.scale = 3
        guard let image = renderer.cgImage else { return }
        let options = TextureResource.CreateOptions(semantic: .color)
        if let texture {
            try? await texture.replace(using: image, options: options)
        } else if let made = try? await TextureResource(image: image, options: options) {
            texture = made
            board.model?.materials = [UnlitMaterial(texture: made)]
            board.isEnabled = true
        }
    }
}
