import PhantomEdge

/// What the app says of an answer: its text, and how sure the model is of it.
public struct Verdict: Equatable, Sendable {
    public let text: String
    /// The model's own words, which are the text where it is sure of them.
    public let answer: String
    /// How sure the model is, in a few words; empty where that is not known.
    public let note: String
    /// False for an answer that the model does not hold likely enough.
    public let isSure: Bool

    public init(_ text: String, answer: String? = nil, note: String = "", isSure: Bool = true) {
        (self.text, self.answer, self.note, self.isSure) = (text, answer ?? text, note, isSure)
    }

    /// `leastConfidence` is the least probability that counts as an answer: of a choice among the others, of free words
    /// among all.
    public init(_ answer: Answer, leastConfidence: Double) {
        let words = answer.text
        guard !words.allSatisfy(\.isWhitespace) else {
            self.init(localized("No answer"), answer: "")
            return
        }
        let choice = answer.likelihoods.first?.probability
        if let probability = choice ?? answer.confidence, probability < leastConfidence {
            let note = localized("perhaps %1$@, %2$@", words, Self.percent(probability))
            self.init(localized("Not sure"), answer: words, note: note, isSure: false)
        } else if let choice {
            self.init(words, note: localized("%1$@ sure", Self.percent(choice)))
        } else {
            // An answer that was cut short says so.
            let isWhole = answer.stop == .end || answer.stop == .stop
            self.init(isWhole ? words : words + " …", answer: words)
        }
    }

    /// What a screen reader says of it.
    public var spoken: String { note.isEmpty ? text : "\(text), \(note)" }

    /// Whether it says the same, however likely.
    func saysAlso(_ other: Verdict?) -> Bool { answer == other?.answer && isSure == other?.isSure }

    private static func percent(_ probability: Double) -> String {
        if probability > 0.99 && probability < 1 { return localized("over %1$@", "99 %") }
        if probability > 0 && probability < 0.01 { return localized("under %1$@", "1 %") }
        return "\(Int((100 * probability).rounded())) %"
    }
}
