public protocol Cancellable { func cancel() }
public protocol Publisher {
    associatedtype Output
    associatedtype Failure: Error
}
