import Foundation

/// What may follow in an answer of a form.
protocol Constraint: Sendable {
    /// Whether nothing but an end may follow.
    var isComplete: Bool { get }

    /// The same logits, minus infinity for every token that may not follow. Throws `PhantomEdgeError.input` when none may.
    func limit(_ logits: [Float]) throws -> [Float]

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

    init(_ masks: TokenMasks, ends: [Int]) { (self.masks, self.ends, place) = (masks, ends, masks.start) }

    var isComplete: Bool { masks.accepts(place) && masks.mask(place).allSatisfy { $0 == 0 } }

    func limit(_ logits: [Float]) throws -> [Float] {
        let (mask, accepts) = (masks.mask(place), masks.accepts(place))
        guard accepts || mask.contains(where: { $0 != 0 }) else { throw refusal() }
        var limited = none(of: logits)
        for id in limited.indices where mask[id >> 6] >> UInt64(id & 63) & 1 == 1 { limited[id] = logits[id] }
        if accepts { only(ends, of: logits, into: &limited) }
        return limited
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

    func limit(_ logits: [Float]) -> [Float] {
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
