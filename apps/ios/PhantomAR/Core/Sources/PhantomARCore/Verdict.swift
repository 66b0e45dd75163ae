import PhantomEdge

/// What the app says of an answer: its text, and how sure the model is of it.
public struct Verdict: Equatable, Sendable {
    public let text: String
    /// How sure the model is, in a few words; empty where that is not known.
    public let note: String
    /// False for an answer out of a list that the model does not hold likely enough.
    public let isSure: Bool

    public init(_ text: String, note: String = "", isSure: Bool = true) {
        (self.text, self.note, self.isSure) = (text, note, isSure)
    }

    /// `leastConfidence` is the least probability of a choice that counts as an answer.
    public init(_ answer: Answer, leastConfidence: Double) {
        guard let best = answer.likelihoods.first else {
            // An answer that was cut short says so.
            let shown = answer.stop == .end || answer.stop == .stop ? answer.text : answer.text + " …"
            self.init(shown.isEmpty ? localized("No answer") : shown)
            return
        }
        let sure = Self.percent(best.probability)
        if best.probability >= leastConfidence {
            self.init(best.text, note: localized("%1$@ sure", sure))
        } else {
            self.init(localized("Not sure"), note: localized("perhaps %1$@, %2$@", best.text, sure), isSure: false)
        }
    }

    /// What a screen reader says of it.
    public var spoken: String { note.isEmpty ? text : "\(text), \(note)" }

    private static func percent(_ probability: Double) -> String {
        if probability > 0.99 && probability < 1 { return localized("over %1$@", "99 %") }
        if probability > 0 && probability < 0.01 { return localized("under %1$@", "1 %") }
        return "\(Int((100 * probability).rounded())) %"
    }
}
