import Foundation

/// One context: a picture, the questions about it and their answers. Questions are answered one after the other.
public actor Chat {
    private let session: PhantomSession
    private let image: RGBImage?
    private let policy: TilePolicy

    /// The ids that the cache holds.
    public private(set) var ids: [Int] = []
    /// Seconds and counts of the last answer, and how sure the model is of it.
    public private(set) var timing = Timing()

    private var cache: (any DecoderCache)?
    private var pending: [Int] = []  // a generated token that is not in the cache yet
    private var isOpen = false  // a question has been asked since the beginning or the last rewind
    private var isBusy = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(session: PhantomSession, image: RGBImage?, policy: TilePolicy) {
        (self.session, self.image, self.policy) = (session, image, policy)
    }

    /// Streams the answer as pieces of text.
    ///
    /// The first question computes the picture, a later one only itself. Leaving the loop or cancelling its task stops
    /// the answer after the call of a graph that is under way; what was said stands, and the next question may follow.
    /// The stream throws `PhantomEdgeError.input`, before anything is computed, for a question that does not fit.
    public nonisolated func ask(
        _ question: String, options: AnswerOptions = AnswerOptions()
    ) -> AsyncThrowingStream<String, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    try await self.answer(question, options) { continuation.yield($0) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    /// Forgets the questions and answers but keeps the picture: the next question is the first again, and costs neither
    /// the vision encoder nor the picture's part of the prompt.
    public func rewind() async {
        await lock()
        defer { unlock() }
        (isOpen, pending) = (false, [])
    }

    private func lock() async {
        if isBusy {
            await withCheckedContinuation { waiting.append($0) }
        } else {
            isBusy = true
        }
    }

    /// Hands the turn to the first that waits: were it free in between, a newcomer could take it beside them.
    private func unlock() {
        if waiting.isEmpty {
            isBusy = false
        } else {
            waiting.removeFirst().resume()
        }
    }

    private func answer(_ question: String, _ options: AnswerOptions, _ emit: @Sendable (String) -> Void) async throws {
        await lock()
        defer { unlock() }
        try Task.checkCancellation()
        guard options.maxTokens >= 1, options.stops.allSatisfy({ !$0.isEmpty }) else {
            throw PhantomEdgeError.input("ask for at least one token, and give stop texts that are not empty")
        }
        let prompt = try prompt(question)
        try check(prompt)
        let constraint = try options.form.map(session.forms.constraint)
        let logits = try await begin(prompt)
        isOpen = true
        try await generate(logits, options, constraint, emit)
    }

    /// How likely each of the choices is as the answer, the likeliest first: the probability of its tokens and of an end
    /// behind them, over that of all the choices together. A call of the decoder for each token that the choices do not
    /// share.
    ///
    /// The conversation stays as it was: the next question may follow. Throws `PhantomEdgeError.input`, before anything is
    /// computed, for choices that the tokenizer cannot write, and when the longest does not fit.
    public func rank(_ question: String, among choices: [String]) async throws -> [Likelihood] {
        await lock()
        defer { unlock() }
        let tree = try session.forms.tree(Form(choices: choices).choices ?? [])
        let prompt = try prompt(question)
        try check(prompt, room: tree.depth)
        let (before, unsaid, clock) = (ids, pending, ContinuousClock())
        let logits = try await begin(prompt)
        let length = ids.count
        if isOpen { (ids, pending) = (before, unsaid) }
        let cache = try await currentCache()
        let start = clock.now
        var ranking = Ranking(tree, ends: session.manifest.ids.end, count: choices.count, logits: try finite(logits))
        while let (token, depth) = ranking.next {
            ranking.take(try finite(try await session.prefill([token], at: length + depth, cache: cache)))
        }
        timing.decode = seconds(clock.now - start)
        timing.stop = .end
        return ranking.likelihoods(choices)
    }

    /// Brings a prompt into the cache, as far as it is not there: the logits of its last token.
    private func begin(_ prompt: [Int]) async throws -> [Float] {
        let kept = isOpen ? ids.count : commonPrefix(prompt)
        timing = Timing()
        (timing.promptTokens, timing.reusedTokens) = (prompt.count, isOpen ? 0 : kept)
        return try await prefill(isOpen ? prompt : Array(prompt[kept...]), at: kept)
    }

    /// What is to be appended to the cache, or the whole of it for a first question.
    private func prompt(_ question: String) throws -> [Int] {
        let prompts = PromptEncoder(template: session.manifest.prompt, tokenizer: session.tokenizer)
        return try isOpen ? pending + prompts.next(question) : prompts.first(question, imageTokens: imageTokens)
    }

    private var imageTokens: Int? {
        image.map { policy.count(width: $0.width, height: $0.height) * session.tile.tokens }
    }

    /// Ids of the prompt that the cache holds from an earlier question; the last one is always computed.
    private func commonPrefix(_ prompt: [Int]) -> Int {
        let same = zip(ids, prompt).prefix { $0 == $1 }.count
        let length = min(same, prompt.count - 1)
        // A picture that the cache has in part is computed again: its rows are not kept.
        return prompt[max(length, 0)...].contains(session.manifest.ids.image) ? 0 : max(length, 0)
    }

    /// `room` are tokens that must fit behind the prompt.
    private func check(_ prompt: [Int], room: Int = 0) throws {
        let manifest = session.manifest
        if !isOpen, prompt.first != manifest.ids.first {
            throw PhantomEdgeError.input(
                "the prompt begins with token \(prompt.first ?? -1), the model was folded for \(manifest.ids.first): "
                    + "use the bundle's own tokenizer and template")
        }
        let length = (isOpen ? ids.count : 0) + prompt.count + room
        guard length <= manifest.context else {
            throw PhantomEdgeError.input(
                "the prompt needs \(length) tokens, the context holds \(manifest.context): ask less, use fewer tiles, "
                    + "or export with a larger context")
        }
        let places = prompt.count { $0 == manifest.ids.image }
        guard places == (isOpen ? 0 : imageTokens ?? 0) else {
            throw PhantomEdgeError.input("the prompt has \(places) image tokens, the picture \(imageTokens ?? 0)")
        }
    }

    private func prefill(_ prompt: [Int], at kept: Int) async throws -> [Float] {
        let clock = ContinuousClock()
        let before = Array(ids.prefix(kept))
        let rewinds = isOpen
        do {
            var (start, rows): (ContinuousClock.Instant, [Float]) = (clock.now, [])
            if let image, prompt.contains(session.manifest.ids.image) {
                rows = try await session.encode(policy.split(image).lazy.map(TilePolicy.planar))
                timing.vision = seconds(clock.now - start)
                start = clock.now
            }
            let cache = try await currentCache()
            ids = before
            let logits = try await session.prefill(prompt, at: kept, cache: cache, image: rows) { length in
                ids = before + prompt[..<(length - kept)]
            }
            pending = []
            timing.prefill = seconds(clock.now - start)
            return logits
        } catch {
            if rewinds { ids = before }  // half a question is taken back; half a first prompt may serve again
            throw error
        }
    }

    private func currentCache() async throws -> any DecoderCache {
        if let cache { return cache }
        let made = try await session.backend.makeCache()
        cache = made
        return made
    }

    /// A token is appended to the cache when the next one is computed.
    private func generate(
        _ first: [Float], _ options: AnswerOptions, _ form: (any Constraint)?, _ emit: (String) -> Void
    ) async throws {
        var (logits, chooser, constraint) = (first, options.sampling.chooser(), form)
        var (stream, filter) = (session.tokenizer.stream(), StopFilter(options.stops))
        var confidence = Confidence(ends: session.manifest.ids.end)
        func pass(_ text: String) {
            let ready = filter.push(text)
            if !ready.isEmpty { emit(ready) }
        }
        while timing.stop == nil {
            _ = try finite(logits)
            let isGreedy = options.sampling.temperature == 0
            let token = chooser.choose(try constraint?.limit(logits, isGreedy: isGreedy) ?? logits)
            if session.manifest.ids.end.contains(token) {
                (timing.stop, timing.confidence) = (.end, confidence.ended(logits))
                break
            }
            confidence.add(logits, token)
            try constraint?.take(token)
            timing.newTokens += 1
            pending = [token]
            pass(stream.push(token))
            timing.stop = constraint?.isComplete == true ? .end : reason(filter, options)
            if timing.stop == .end { timing.confidence = confidence.ended(nil) }
            guard timing.stop == nil else { break }
            guard try await session.pace() else {
                timing.stop = .thermal
                break
            }
            logits = try await append(token)
        }
        pass(stream.finish())
        let rest = filter.finish()
        if !rest.isEmpty { emit(rest) }
        if filter.hasStopped { (timing.stop, timing.confidence) = (.stop, nil) }
    }

    private func finite(_ logits: [Float]) throws -> [Float] {
        guard logits.allSatisfy(\.isFinite) else {
            throw PhantomEdgeError.runtime(
                "the model's logits are not finite: its weights are broken, or too large for this runtime's numbers")
        }
        return logits
    }

    private func reason(_ filter: StopFilter, _ options: AnswerOptions) -> StopReason? {
        if filter.hasStopped { return .stop }
        if timing.newTokens == options.maxTokens { return .length }
        return ids.count == session.manifest.context ? .context : nil
    }

    private func append(_ token: Int) async throws -> [Float] {
        let (clock, cache) = (ContinuousClock(), try await currentCache())
        let start = clock.now
        let logits = try await session.step([token], at: ids.count, cache: cache)
        ids.append(token)
        pending = []
        timing.decode += seconds(clock.now - start)
        return logits
    }

    private func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
    }
}
