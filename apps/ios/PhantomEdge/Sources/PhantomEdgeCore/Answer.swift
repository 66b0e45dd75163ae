/// How a question is to be answered.
public struct AnswerOptions: Sendable {
    /// The most tokens of the answer.
    public var maxTokens: Int
    /// Texts that end the answer and are no part of it.
    public var stops: [String]
    public var sampling: Sampling
    /// What the answer may be; nil for anything.
    public var form: Form?

    public init(maxTokens: Int = 256, stops: [String] = [], sampling: Sampling = .greedy, form: Form? = nil) {
        (self.maxTokens, self.stops, self.sampling, self.form) = (maxTokens, stops, sampling, form)
    }
}

/// Why an answer ended.
public enum StopReason: String, Sendable {
    /// The model said so.
    case end
    /// `AnswerOptions.maxTokens`.
    case length
    /// The context is full.
    case context
    /// One of `AnswerOptions.stops`.
    case stop
    /// The device is too warm; see `Pacing.stopsAt`.
    case thermal
}

/// Seconds and counts of one answer, and how sure the model is of it.
public struct Timing: Equatable, Sendable {
    public internal(set) var vision = 0.0
    public internal(set) var prefill = 0.0
    public internal(set) var decode = 0.0
    /// Tokens of the prompt, and how many of them were in the cache already.
    public internal(set) var promptTokens = 0
    public internal(set) var reusedTokens = 0
    public internal(set) var newTokens = 0
    /// Nil until the answer has ended.
    public internal(set) var stop: StopReason?
    /// The probability that the model itself gave to the answer's tokens and to their end; nil until the answer has ended
    /// by `end`, and for one of more than twelve tokens.
    public internal(set) var confidence: Double?

    /// Time to the first token.
    public var firstToken: Double { vision + prefill }
}

/// Passes text on up to the first stop text, holding back what could be its beginning.
struct StopFilter {
    private let stops: [[Unicode.Scalar]]
    private var unsent: [Unicode.Scalar] = []
    private(set) var hasStopped = false

    init(_ stops: [String]) { self.stops = stops.map { Array($0.unicodeScalars) } }

    /// The text that is certain to be part of the answer.
    mutating func push(_ piece: String) -> String {
        guard !hasStopped else { return "" }
        unsent += Array(piece.unicodeScalars)
        if let cut = stops.compactMap({ start(of: $0) }).min() {
            hasStopped = true
            return take(cut)
        }
        let beginnings = stops.flatMap { stop in
            (1..<max(stop.count, 1)).filter { unsent.suffix($0) == stop.prefix($0) }
        }
        return take(unsent.count - (beginnings.max() ?? 0))
    }

    /// What was held back, once nothing follows.
    mutating func finish() -> String { hasStopped ? "" : take(unsent.count) }

    private func start(of stop: [Unicode.Scalar]) -> Int? {
        unsent.indices.first { unsent[$0...].starts(with: stop) }
    }

    private mutating func take(_ count: Int) -> String {
        var result = String.UnicodeScalarView()
        result.append(contentsOf: unsent.prefix(count))
        unsent.removeFirst(count)
        return String(result)
    }
}
