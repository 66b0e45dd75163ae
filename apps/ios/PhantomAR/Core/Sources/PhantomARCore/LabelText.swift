/// What a label says: a question and its answer, while that streams in and afterwards.
public struct LabelText: Equatable, Sendable {
    public private(set) var question = ""
    public private(set) var verdict = Verdict("")
    /// What the model looks at; nil before the first question.
    public private(set) var frame: Frame?
    private var complete = ""

    public init() {}

    public var answer: String { verdict.text }

    /// A question is being asked; its last answer stays until there is another.
    public mutating func begin(_ question: String, about frame: Frame) {
        self.frame = frame
        guard question != self.question else { return }
        (self.question, verdict, complete) = (question, Verdict(""), "")
    }

    /// The answer so far. While it repeats the last one, that stays: an unchanged answer does not flicker.
    public mutating func stream(_ text: String) {
        if !complete.hasPrefix(text) { verdict = Verdict(text) }
    }

    public mutating func finish(_ verdict: Verdict) {
        (self.verdict, complete) = (verdict, verdict.answer)
    }
}
