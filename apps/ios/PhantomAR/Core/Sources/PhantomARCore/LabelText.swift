/// What a label says: a question and its answer, while that streams in and afterwards.
public struct LabelText: Equatable, Sendable {
    public private(set) var question = ""
    public private(set) var answer = ""
    private var complete = ""

    public init() {}

    /// A question is being asked; its last answer stays until there is another.
    public mutating func begin(_ question: String) {
        guard question != self.question else { return }
        (self.question, answer, complete) = (question, "", "")
    }

    /// The answer so far. While it repeats the last one, that stays: an unchanged answer does not flicker.
    public mutating func stream(_ text: String) {
        if !complete.hasPrefix(text) { answer = text }
    }

    public mutating func finish(_ text: String) {
        complete = text
        answer = text.isEmpty ? "No answer" : text
    }
}
