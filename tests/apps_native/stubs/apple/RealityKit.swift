import ARKit
import Combine
@_exported import UIKit

public struct simd_quatf: Sendable {
    public init(angle: Float, axis: SIMD3<Float>) {}
    public func act(_ vector: SIMD3<Float>) -> SIMD3<Float> { vector }
}
public func simd_distance(_ a: SIMD3<Float>, _ b: SIMD3<Float>) -> Float { 0 }
public func simd_dot(_ a: SIMD3<Float>, _ b: SIMD3<Float>) -> Float { 0 }

public struct Transform {
    public var translation: SIMD3<Float> = .zero
    public var rotation: simd_quatf { fatalError() }
}
public protocol Component {}
public struct BillboardComponent: Component { public init() {} }
public protocol Material {}
@MainActor @preconcurrency public class TextureResource {
    public enum Semantic: Sendable { case color }
    public struct CreateOptions: Sendable { public init(semantic: Semantic?) {} }
    public init(image: CGImage, withName: String? = nil, options: CreateOptions) async throws {}
    public func replace(using image: CGImage, options: CreateOptions) async throws {}
}
public struct UnlitMaterial: Material {
    public init(color: UIColor) {}
    @MainActor public init(texture: TextureResource) {}
}
@MainActor @preconcurrency public class MeshResource {
    public static func generatePlane(width: Float, height: Float, cornerRadius: Float = 0) -> MeshResource { fatalError() }
    public static func generateBox(width: Float, height: Float, depth: Float, cornerRadius: Float = 0) -> MeshResource {
        fatalError()
    }
    public static func generateSphere(radius: Float) -> MeshResource { fatalError() }
}
public struct ModelComponent: Component { public var materials: [any Material] }
@MainActor @preconcurrency open class Entity {
    public struct ComponentSet { public mutating func set(_ component: any Component) {} }
    public required init() {}
    public var components = ComponentSet()
    public var position = SIMD3<Float>.zero
    public var scale = SIMD3<Float>.zero
    public var isEnabled = true
    public func addChild(_ entity: Entity) {}
    public func position(relativeTo entity: Entity?) -> SIMD3<Float> { .zero }
    public func setOrientation(_ orientation: simd_quatf, relativeTo entity: Entity?) {}
}
@MainActor @preconcurrency open class ModelEntity: Entity {
    public required init() {}
    public init(mesh: MeshResource, materials: [any Material] = []) {}
    public var model: ModelComponent?
}
@MainActor @preconcurrency open class AnchorEntity: Entity {
    public required init() {}
    public init(raycastResult: ARRaycastResult) {}
    public init(world position: SIMD3<Float>) {}
}
public protocol Event {}
public enum SceneEvents { public struct Update: Event {} }
@MainActor @preconcurrency public class Scene {
    public func subscribe<E: Event>(
        to event: E.Type, on source: AnyObject? = nil, _ handler: @escaping (E) -> Void
    ) -> any Cancellable { fatalError() }
    public func addAnchor(_ anchor: AnchorEntity) {}
    public func removeAnchor(_ anchor: AnchorEntity) {}
}
@MainActor @preconcurrency open class ARView: UIView {
    public enum CameraMode { case nonAR, ar }
    public init(frame: CGRect, cameraMode: CameraMode, automaticallyConfigureSession: Bool) { super.init(frame: frame) }
    public var session: ARSession { fatalError() }
    public var scene: Scene { fatalError() }
    public var cameraTransform: Transform { fatalError() }
    public func project(_ point: SIMD3<Float>) -> CGPoint? { nil }
    public func ray(through point: CGPoint) -> (origin: SIMD3<Float>, direction: SIMD3<Float>)? { nil }
    public func raycast(
        from point: CGPoint, allowing target: ARRaycastQuery.Target, alignment: ARRaycastQuery.TargetAlignment
    ) -> [ARRaycastResult] { [] }
}
