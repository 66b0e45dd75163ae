/// What the loop looks at and speaks to.
@MainActor public protocol LoopHost: AnyObject {
    /// The newest picture; nil while there is none.
    func grab() async throws -> Frame?
    func answer(_ frame: Frame, _ question: String) async throws -> Answer
    /// How long to rest after an answer; nil when nothing may be asked now, because the device is too warm.
    var rest: Duration? { get }
    func willAsk(_ question: String, about frame: Frame)
    func didAnswer(_ question: String, _ answer: Answer)
    func didFail(_ failure: Failure)
    func didIdle()
}

/// Take the newest picture, ask, stream, again. One job at a time and never a queue, so that an answer is about what is
/// before the camera now; whatever the user does cancels the job under way.
@MainActor public final class AnswerLoop {
    /// Between two tries while there is no picture, or the device cools.
    static let retry = Duration.milliseconds(100)

    private weak var host: (any LoopHost)?
    private var live: String?
    private var once: [String] = []
    private var job: Task<Void, Never>?

    public init(host: any LoopHost) { self.host = host }

    public var isLive: Bool { live != nil }

    /// Asks again and again about the newest picture.
    public func startLive(_ question: String) { start(live: question, once: []) }

    /// Asks each question once, in turn, instead of what is under way.
    public func ask(_ questions: [String]) { start(live: nil, once: questions) }

    /// Ends what is under way and asks nothing more by itself.
    public func pause() { start(live: nil, once: []) }

    /// Until what was under way at the time of the call has ended.
    public func settled() async { await job?.value }

    private func start(live: String?, once: [String]) {
        (self.live, self.once) = (live, once)
        let before = job
        before?.cancel()
        job = Task { [weak self] in
            await before?.value  // the engine answers one at a time
            while !Task.isCancelled, let pause = await self?.turn() { try? await Task.sleep(for: pause) }
        }
    }

    /// One question. Gives how long to rest afterwards; nil when there is nothing more to do.
    private func turn() async -> Duration? {
        guard let host else { return nil }
        guard let question = once.first ?? live else {
            host.didIdle()
            return nil
        }
        do {
            guard host.rest != nil, let frame = try await host.grab() else { return Self.retry }
            try Task.checkCancellation()
            host.willAsk(question, about: frame)
            let answer = try await host.answer(frame, question)
            try Task.checkCancellation()
            if !once.isEmpty { once.removeFirst() }
            host.didAnswer(question, answer)
            return once.isEmpty ? host.rest ?? Self.retry : .zero
        } catch {
            guard !Task.isCancelled, !(error is CancellationError) else { return nil }
            (live, once) = (nil, [])
            host.didFail(Failure(error))
            return nil
        }
    }
}
