import Foundation

/// The exact likelihood of each choice: the model's own softmax along the choice's tokens and then for any end token.
struct Ranking {
    private struct Branch {
        let token: Int
        let node: Int
        let depth: Int
        let score: Double
    }

    private let tree: ChoiceTree
    private let ends: [Int]
    private var scores: [Double]
    private var waiting: [Branch] = []

    /// For as many choices; `logits` are those of the prompt.
    init(_ tree: ChoiceTree, ends: [Int], count: Int, logits: [Float]) {
        (self.tree, self.ends) = (tree, ends)
        scores = [Double](repeating: 0, count: count)
        follow(node: 0, depth: 0, score: 0, logits)
    }

    /// The token to append next, and how far behind the prompt: depth first, so that each call may write over what an
    /// earlier branch left at its place. Nil when all is known.
    var next: (token: Int, depth: Int)? { waiting.last.map { ($0.token, $0.depth) } }

    /// The logits after `next`.
    mutating func take(_ logits: [Float]) {
        guard let branch = waiting.popLast() else { return }
        follow(node: branch.node, depth: branch.depth + 1, score: branch.score, logits)
    }

    /// The choices, the likeliest first, of equal ones the first.
    func likelihoods(_ choices: [String]) -> [Likelihood] {
        let top = scores.max() ?? 0
        let weights = scores.map { exp($0 - top) }
        let total = weights.reduce(0, +)
        let all = zip(choices, weights).map { Likelihood(text: $0, probability: $1 / total) }
        return all.enumerated().sorted { ($1.element.probability, $0.offset) < ($0.element.probability, $1.offset) }
            .map(\.element)
    }

    private mutating func follow(node: Int, depth: Int, score: Double, _ logits: [Float]) {
        let total = logSum(logits)
        if let choice = tree.nodes[node].choice {
            scores[choice] = score + logSum(ends.map { logits[$0] }) - total
        }
        for (token, child) in tree.nodes[node].children.reversed() {
            let reached = score + Double(logits[token]) - total
            waiting.append(Branch(token: token, node: child, depth: depth, score: reached))
        }
    }
}
