import PhantomEdge

/// The model as an `Engine`: one tile, one look per picture.
public actor PhantomEngine: Engine {
    public nonisolated let info: ModelInfo
    private var session: PhantomSession
    private let sampling: Sampling
    private var seen: (frame: Int, chat: Chat)?

    /// `loading` are the seconds until now; `sampling` is how the tokens of free answers are chosen.
    public init(_ session: PhantomSession, loading: Double, sampling: Sampling = .greedy) {
        (self.session, self.sampling) = (session, sampling)
        let manifest = session.manifest
        let bytes = manifest.files.values.reduce(0) { $0 + $1.bytes }
        let sizes = [session.tile.size] + manifest.tileSizes.map(\.size).filter { $0 != session.tile.size }
        // Where there is a choice, it says itself what is chosen.
        let sees = ModelInfo.Fact(localized("Sees"), localized("%1$@ × %1$@ pixels", String(session.tile.size)))
        info = ModelInfo(
            facts: [
                .init(localized("Model"), "\(manifest.target), \(Numbers.megabytes(bytes))"),
                .init(localized("Runs on"), session.backend.name),
            ] + (sizes.count > 1 ? [] : [sees]) + [.init(localized("Ready after"), Numbers.seconds(loading))],
            tileSizes: sizes)
    }

    public func ask(
        _ frame: Frame, _ question: String, form: Form?, maxTokens: Int, onText: @escaping OnText
    ) async throws -> Answer {
        let chat = await chat(about: frame)
        let start = ContinuousClock.now
        var (text, speed) = ("", Speed())
        if let choices = form?.choices {
            let ranked = try await chat.rank(question, among: choices)
            speed.firstToken = seconds(since: start)
            return Answer(text: ranked[0].text, speed: speed, stop: .end, likelihoods: ranked)
        }
        let options = AnswerOptions(maxTokens: maxTokens, sampling: sampling, form: form)
        for try await piece in chat.ask(question, options: options) {
            if text.isEmpty { speed.firstToken = seconds(since: start) }
            text += piece
            speed.rate = rate(await chat.timing)
            await onText(text, speed)
        }
        try Task.checkCancellation()  // a stream that is cancelled ends as one that is complete
        let timing = await chat.timing
        if text.isEmpty { speed.firstToken = seconds(since: start) }
        speed.rate = rate(timing)
        // Words that a form asks for are not the model's own: how likely it held them says nothing.
        let confidence = form == nil ? timing.confidence : nil
        return Answer(text: text, speed: speed, stop: timing.stop ?? .end, confidence: confidence)
    }

    public func useTiles(of size: Int) async throws {
        guard size != session.tile.size else { return }
        session = try session.atTileSize(size)
        seen = nil
    }

    public func selfTest() async throws -> [CheckRow] {
        try await session.selfTest().checks.map { check in
            CheckRow(
                name: check.name, measured: Numbers.measured(check.value), limit: Numbers.measured(check.limit),
                passed: check.passed)
        }
    }

    public func trim() async { await session.trim() }

    /// The chat about a picture; on one that was seen before, its picture and nothing of what was said.
    private func chat(about frame: Frame) async -> Chat {
        if let seen, seen.frame == frame.id {
            await seen.chat.rewind()
            return seen.chat
        }
        let chat = session.chat(about: frame.image, maxTiles: 1)
        seen = (frame.id, chat)
        return chat
    }

    /// Every token but the last has been appended by now, the last too when the model ended by itself.
    private func rate(_ timing: Timing) -> Double {
        let appended = timing.stop == .end ? timing.newTokens : timing.newTokens - 1
        return timing.decode > 0 && appended > 0 ? Double(appended) / timing.decode : 0
    }
}
