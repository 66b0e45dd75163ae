import PhantomEdge

/// Answers without a model, so that the app can be built, tested and looked at anywhere. Says so in every answer.
public struct FakeEngine: Engine {
    public let info = ModelInfo(
        facts: [.init("Model", "stand-in, no model"), .init("Runs on", "no model")], tileSizes: [448, 336, 224])
    /// Between two words.
    let step: Duration

    public init(step: Duration = .milliseconds(40)) { self.step = step }

    public static func load(
        step: Duration = .milliseconds(40), _ onStep: @MainActor @Sendable (LoadingStep) -> Void
    ) async throws -> FakeEngine {
        for part in 0...4 {
            await onStep(LoadingStep(localized("Loading the model"), part: Double(part) / 4))
            try await Task.sleep(for: step)
        }
        return FakeEngine(step: step)
    }

    public func ask(
        _ frame: Frame, _ question: String, form: Form?, maxTokens: Int, onText: @escaping OnText
    ) async throws -> Answer {
        if let choices = form?.choices { return try await rank(choices) }
        let (width, height) = (frame.image.width, frame.image.height)
        let words = "A stand-in answer to “\(question)” about \(width) by \(height) pixels.".split(separator: " ")
        var (text, speed) = ("", Speed())
        let start = ContinuousClock.now
        for (n, word) in words.prefix(maxTokens).enumerated() {
            try await Task.sleep(for: step)
            text += (n == 0 ? "" : " ") + word
            let passed = seconds(since: start)
            if n == 0 { speed.firstToken = passed } else { speed.rate = Double(n) / (passed - speed.firstToken) }
            await onText(text, speed)
        }
        return Answer(text: text, speed: speed, stop: words.count > maxTokens ? .length : .end)
    }

    /// Each choice is half as likely as the one before.
    private func rank(_ choices: [String]) async throws -> Answer {
        let start = ContinuousClock.now
        try await Task.sleep(for: step)
        var (weights, speed) = ([1.0], Speed())
        while weights.count < choices.count { weights.append(weights[weights.count - 1] / 2) }
        let total = weights.reduce(0, +)
        speed.firstToken = seconds(since: start)
        let likelihoods = zip(choices, weights).map { Likelihood(text: $0, probability: $1 / total) }
        return Answer(text: choices[0], speed: speed, stop: .end, likelihoods: likelihoods)
    }

    public func useTiles(of size: Int) async throws {}

    public func selfTest() async throws -> [CheckRow] {
        [CheckRow(name: "No model to test", measured: "nothing", limit: "none", passed: true)]
    }

    public func trim() async {}
}

func seconds(since start: ContinuousClock.Instant) -> Double {
    let (whole, rest) = (ContinuousClock.now - start).components
    return Double(whole) + Double(rest) * 1e-18
}
