/// Where pictures come from: AR, the plain camera, or one picture.
@MainActor public protocol PictureSource: AnyObject {
    var kind: SourceKind { get }
    /// What the user sees while `grab` has nothing, because something is to be done first.
    var hint: String? { get }
    /// How much of the picture around the pin the model looks at.
    var reach: Reach { get set }
    /// That part of the newest picture, a new frame each time; nil when there is none.
    func grab() async throws -> Frame?
    /// Keeps the newest picture: `grab` gives that same frame until `thaw`.
    func freeze()
    func thaw()
    /// The label of the newest pin.
    func show(_ label: LabelText)
    func close()
}

public enum SourceKind: Sendable { case ar, camera, picture }
