import Foundation

/// How sure the model is of a free answer: the probability that it gave to just these tokens, and to their end. One rule
/// in every language.
///
/// It is the model's own, before a temperature or a form's mask, and costs a pass over the logits for each of the first
/// twelve tokens and one for the end.
struct Confidence {
    /// Of a longer answer the probability says little: many wordings are equally good, and share it.
    static let mostTokens = 12

    private let ends: [Int]
    private var tokens = 0
    private var score = 0.0  // logarithm

    /// Ends may be several: their probabilities add up.
    init(ends: [Int]) { self.ends = ends }

    /// Goes on with a token and the logits that it was chosen from.
    mutating func add(_ logits: [Float], _ token: Int) {
        tokens += 1
        if tokens <= Self.mostTokens { score += Double(logits[token]) - logSum(logits) }
    }

    /// The probability of the whole answer, nil where it has more than twelve tokens. `logits` are those that the end was
    /// chosen from, nil where a form left nothing but the end.
    func ended(_ logits: [Float]?) -> Double? {
        guard tokens <= Self.mostTokens else { return nil }
        let end = logits.map { logits in logSum(ends.map { logits[$0] }) - logSum(logits) } ?? 0
        return min(1, exp(score + end))
    }
}

/// The logarithm of the sum of the exponentials.
func logSum(_ logits: [Float]) -> Double {
    let top = Double(logits.max() ?? 0)
    return top + log(logits.reduce(0.0) { $0 + exp(Double($1) - top) })
}
