import PhantomEdge

/// Something that went wrong in a way that the user should read about: what it is and how to mend it.
public struct Failure: Error, Equatable, Sendable {
    public enum Code: String, Sendable, CaseIterable {
        case settings, bundle, memory, model, question, picture
        case noCamera, cameraRefused, cameraBusy, ar
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) { (self.code, self.message) = (code, message) }

    /// Any error; those of the library say by their kind what they are about.
    public init(_ error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case PhantomEdgeError.bundle(let text), PhantomEdgeError.transfer(let text), PhantomEdgeError.storage(let text):
            self.init(.bundle, Self.sentence(text))
        case PhantomEdgeError.input(let text): self.init(.question, Self.sentence(text))
        case PhantomEdgeError.runtime(let text): self.init(.model, Self.sentence(text))
        case let memory as PhantomEdgeError: self.init(.memory, Self.sentence(memory.description))
        default: self.init(.model, Self.sentence(String(describing: error)))
        }
    }

    public var title: String {
        switch code {
        case .settings, .bundle: return localized("The model cannot be used")
        case .memory: return localized("Out of memory")
        case .model: return localized("The model does not run")
        case .question: return localized("This cannot be asked")
        case .picture: return localized("Not a picture")
        case .noCamera: return localized("No camera")
        case .cameraRefused: return localized("The camera is not allowed")
        case .cameraBusy: return localized("The camera is in use")
        case .ar: return localized("AR is not available")
        }
    }

    /// Whether another try can go well without anything else being changed.
    public var canRetry: Bool { code != .settings && code != .question && code != .picture }

    /// The library's errors are lines for a log; here they are read as sentences.
    static func sentence(_ text: String) -> String {
        let line = String(text.prefix { $0 != "\n" }.prefix(300))
        let ended = line.hasSuffix(".") ? line : line + "."
        return ended.prefix(1).uppercased() + ended.dropFirst()
    }
}
