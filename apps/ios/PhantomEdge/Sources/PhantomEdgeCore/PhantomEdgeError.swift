import Foundation

/// What can go wrong: one line that says what it is and how to mend it.
public enum PhantomEdgeError: Error, Equatable, Sendable {
    /// The bundle is missing, damaged, or of a kind that this library does not read.
    case bundle(String)
    /// A question, a picture or an option that cannot be answered.
    case input(String)
    /// The model needs more memory, in bytes, than the system gives to this app now.
    case memory(needed: Int, available: Int)
    /// The platform's runtime refused to load or run a graph.
    case runtime(String)
    /// A bundle's file could not be fetched. Another try goes on where this one ended.
    case transfer(String)
    /// A bundle cannot be written: no room, or no folder of the app's own.
    case storage(String)
}

extension PhantomEdgeError: LocalizedError, CustomStringConvertible {
    public var description: String {
        switch self {
        case .bundle(let text), .input(let text), .runtime(let text), .transfer(let text), .storage(let text):
            return text
        case .memory(let needed, let available):
            return "the model needs \(needed >> 20) MiB, \(available >> 20) MiB are free: "
                + "close other models, or export with a smaller context or fewer bits"
        }
    }

    public var errorDescription: String? { description }
}
