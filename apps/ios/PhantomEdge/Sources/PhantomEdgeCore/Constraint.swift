import Foundation

/// What may follow in an answer of a form.
protocol Constraint: Sendable {
    /// Whether nothing but an end may follow.
    var isComplete: Bool { get }

    /// The same logits, minus infinity for every token that may not follow; if `isGreedy` perhaps also for those that
    /// are not the likeliest that may. Throws `PhantomEdgeError.input` when none may.
    func limit(_ logits: [Float], isGreedy: Bool) throws -> [Float]

    /// A token has been chosen that is no end. Throws as `limit` does.
    mutating func take(_ token: Int) throws
}

extension Constraint {
    fileprivate func refusal() -> PhantomEdgeError {
        .input("the tokenizer has no token with which the form could go on: allow other texts")
    }

    fileprivate func only(_ ids: some Sequence<Int>, of logits: [Float], into limited: inout [Float]) {
        for id in ids { limited[id] = logits[id] }
    }

    fileprivate func none(of logits: [Float]) -> [Float] { [Float](repeating: -.infinity, count: logits.count) }
}

/// An answer that is to match a pattern.
struct PatternConstraint: Constraint, @unchecked Sendable {
    private let masks: TokenMasks
    private let ends: [Int]
    private var place: FormPlace

    private static let tries = 8

    init(_ masks: TokenMasks, ends: [Int], place: FormPlace? = nil) {
        (self.masks, self.ends, self.place) = (masks, ends, place ?? masks.start)
    }

    var isComplete: Bool { masks.isComplete(place) }

    func limit(_ logits: [Float], isGreedy: Bool) throws -> [Float] {
        if isGreedy, let limited = likeliest(logits) { return limited }
        let (mask, accepts) = (masks.mask(place), masks.accepts(place))
        guard accepts || mask.contains(where: { $0 != 0 }) else { throw refusal() }
        var limited = none(of: logits)
        let ids = 0..<min(limited.count, 64 * mask.count)
        only(ids.lazy.filter { mask[$0 >> 6] >> UInt64($0 & 63) & 1 == 1 }, of: logits, into: &limited)
        if accepts { only(ends, of: logits, into: &limited) }
        return limited
    }

    /// The likeliest token alone, where it is one of the first few by likelihood: quicker than a look at all tokens.
    private func likeliest(_ logits: [Float]) -> [Float]? {
        var left = logits
        for _ in 0..<Self.tries {
            var best = 0
            for id in left.indices where left[id] > left[best] { best = id }
            if ends.contains(best) ? masks.accepts(place) : masks.advance(place, best) != nil {
                var limited = none(of: logits)
                limited[best] = logits[best]
                return limited
            }
            left[best] = -.infinity
        }
        return nil
    }

    mutating func take(_ token: Int) throws {
        guard let next = masks.advance(place, token) else { throw refusal() }
        place = next
    }
}

/// The tokens of choices as a tree: what two begin with alike is there once.
struct ChoiceTree: Sendable {
    struct Node: Sendable {
        /// Numbers of nodes by token, in the order of the choices.
        var children: [(token: Int, node: Int)] = []
        /// The choice that ends here; nil for none.
        var choice: Int?
    }

    /// The first is the root.
    private(set) var nodes = [Node()]
    /// Of the longest choice, in tokens.
    let depth: Int

    init(_ choices: [[Int]]) {
        depth = choices.map(\.count).max() ?? 0
        for (number, tokens) in choices.enumerated() {
            var node = 0
            for token in tokens { node = child(of: node, token) ?? add(to: node, token) }
            nodes[node].choice = number
        }
    }

    func child(of node: Int, _ token: Int) -> Int? { nodes[node].children.first { $0.token == token }?.node }

    private mutating func add(to node: Int, _ token: Int) -> Int {
        nodes[node].children.append((token, nodes.count))
        nodes.append(Node())
        return nodes.count - 1
    }
}

/// An answer that is to be one of some choices.
struct ChoiceConstraint: Constraint {
    private let tree: ChoiceTree
    private let ends: [Int]
    private var node = 0

    init(_ tree: ChoiceTree, ends: [Int]) { (self.tree, self.ends) = (tree, ends) }

    var isComplete: Bool { tree.nodes[node].children.isEmpty }

    func limit(_ logits: [Float], isGreedy: Bool) -> [Float] {
        var limited = none(of: logits)
        only(tree.nodes[node].children.map(\.token), of: logits, into: &limited)
        if tree.nodes[node].choice != nil { only(ends, of: logits, into: &limited) }
        return limited
    }

    mutating func take(_ token: Int) throws {
        guard let next = tree.child(of: node, token) else { throw refusal() }
        node = next
    }
}

/// What a bundle's tokens are to forms: made when the first answer of a form is asked for.
final class Forms: @unchecked Sendable {
    private static let mostPatterns = 8

    private let manifest: Manifest
    private let tokenizer: Tokenizer
    private let lock = NSLock()
    private var bytes: TokenBytes?
    /// By the pattern's bytes: two texts of one canonical form are two patterns.
    private var masks: [(pattern: [UInt8], masks: TokenMasks)] = []

    init(_ manifest: Manifest, _ tokenizer: Tokenizer) { (self.manifest, self.tokenizer) = (manifest, tokenizer) }

    /// Throws `PhantomEdgeError.input` for choices that the tokenizer cannot write.
    func constraint(_ form: Form) throws -> any Constraint {
        if let choices = form.choices { return ChoiceConstraint(try tree(choices), ends: manifest.ids.end) }
        return PatternConstraint(try masks(form.regex ?? ""), ends: manifest.ids.end)
    }

    /// The canonical tokens of choices. Throws as `constraint` does.
    func tree(_ choices: [String]) throws -> ChoiceTree {
        let prompts = PromptEncoder(template: manifest.prompt, tokenizer: tokenizer)
        return ChoiceTree(
            try choices.map { text in
                let ids = try prompts.answer(text)
                guard Array(tokenizer.decode(ids).utf8) == Array(text.utf8) else {
                    throw PhantomEdgeError.input(
                        "the tokenizer cannot write the choice \(text.prefix(40)): word it otherwise")
                }
                return ids
            })
    }

    private func masks(_ pattern: String) throws -> TokenMasks {
        let key = Array(pattern.utf8)
        return try lock.withLock {
            if let known = masks.first(where: { $0.pattern == key })?.masks, !known.isLarge { return known }
            masks.removeAll { $0.pattern == key }
            if masks.count == Self.mostPatterns { masks.removeFirst() }
            let tokens = bytes ?? TokenBytes((0..<manifest.shape.vocabulary).map(text))
            bytes = tokens
            let made = try TokenMasks(pattern, tokens, dropped: tokenizer.decoder.spacesToStrip)
            masks.append((key, made))
            return made
        }
    }

    private func text(_ id: Int) -> [UInt8] {
        let isControl = manifest.ids.end.contains(id) || tokenizer.controlTokens[id] != nil
        return isControl ? [] : tokenizer.bytes(of: id)
    }
}
