/// A regular expression over Unicode scalars: the part of the language that tokenizers are written in.
///
/// Engines disagree on what `\s`, `.` and case mean, and a tokenizer must give the same ids on every system. Known are
/// alternatives, groups, `(?i:…)`, lists in brackets, `\s \S \r \n \t \p{L} \p{N}`, `? * + {n} {n,} {n,m}` after
/// a single character and `?` after a group, look-ahead, and look-behind of one character. Anything else is refused by
/// name.
struct ScalarPattern: Sendable {
    indirect enum Node: Sendable {
        case one(ScalarSet)
        case all([Node])
        case either([Node])
        /// Greedy; `node` is a single character unless `most` is 1.
        case several(Node, least: Int, most: Int)
        case ahead(Node, isPresent: Bool)
        case behind(ScalarSet, isPresent: Bool)
    }

    /// Steps that a text of one character may take; more make an expression that cannot be meant.
    private static let stepsPerScalar = 2_000

    let root: Node

    /// Throws `PhantomEdgeError.bundle` for what is not known here.
    init(_ source: String) throws {
        var parser = PatternParser(source)
        root = try parser.whole()
    }

    /// The matches in a text, from left to right, and the stretches between them.
    ///
    /// Throws `PhantomEdgeError.input` when the text would take forever.
    func split(_ text: [Unicode.Scalar]) throws -> [(range: Range<Int>, isMatch: Bool)] {
        var pieces: [(range: Range<Int>, isMatch: Bool)] = []
        var (done, at) = (0, 0)
        var matcher = Matcher(text: text, stepsLeft: Self.stepsPerScalar * (text.count + 1))
        while at < text.count {
            let end = try matcher.match(root, at: at)
            guard let end, end > at else {
                at += 1
                continue
            }
            if done < at { pieces.append((done..<at, false)) }
            pieces.append((at..<end, true))
            (done, at) = (end, end)
        }
        if done < text.count { pieces.append((done..<text.count, false)) }
        return pieces
    }

    /// The text with every match replaced.
    func replacing(_ text: [Unicode.Scalar], by new: [Unicode.Scalar]) throws -> [Unicode.Scalar] {
        try split(text).flatMap { $0.isMatch ? new : Array(text[$0.range]) }
    }

    /// The set that the whole expression is, when it is one.
    var set: ScalarSet? {
        guard case .one(let set) = root else { return nil }
        return set
    }
}

private struct Matcher {
    let text: [Unicode.Scalar]
    var stepsLeft: Int

    /// Where a match that begins at a place ends.
    mutating func match(_ node: ScalarPattern.Node, at: Int) throws -> Int? {
        var end: Int?
        _ = try follow([node], at) {
            end = $0
            return true
        }
        return end
    }

    /// Whether all the nodes match in a row, and `then` accepts where they end: the first way in which both are so.
    private mutating func follow(_ nodes: ArraySlice<ScalarPattern.Node>, _ at: Int, _ then: (Int) -> Bool) throws
        -> Bool
    {
        guard let node = nodes.first else { return then(at) }
        stepsLeft -= 1
        guard stepsLeft > 0 else {
            throw PhantomEdgeError.input("the text is too long for this tokenizer's expression: ask less at once")
        }
        let rest = nodes.dropFirst()
        switch node {
        case .one(let set):
            return at < text.count && set.contains(text[at]) ? try follow(rest, at + 1, then) : false
        case .all(let parts):
            return try follow(parts + rest, at, then)
        case .either(let ways):
            for way in ways where try follow([way] + rest, at, then) { return true }
            return false
        case .several(.one(let set), let least, let most):
            var count = 0
            while count < most, at + count < text.count, set.contains(text[at + count]) { count += 1 }
            while count >= least {
                if try follow(rest, at + count, then) { return true }
                count -= 1
            }
            return false
        case .several(let part, let least, _):
            if try follow([part] + rest, at, then) { return true }
            return least == 0 ? try follow(rest, at, then) : false
        case .ahead(let part, let isPresent):
            return try follow([part], at, { _ in true }) == isPresent ? try follow(rest, at, then) : false
        case .behind(let set, let isPresent):
            return (at > 0 && set.contains(text[at - 1])) == isPresent ? try follow(rest, at, then) : false
        }
    }
}

private struct PatternParser {
    private let source: [Unicode.Scalar]
    private var at = 0
    private var depth = 0
    private var ignoresCase = false

    init(_ source: String) { self.source = Array(source.unicodeScalars) }

    private var next: Unicode.Scalar? { at < source.count ? source[at] : nil }

    private func unknown(_ what: String) -> PhantomEdgeError {
        .bundle("the tokenizer's expression has \(what), which is not known here: see the docs")
    }

    private mutating func take(_ text: String) -> Bool {
        guard source[at...].starts(with: text.unicodeScalars) else { return false }
        at += text.unicodeScalars.count
        return true
    }

    mutating func whole() throws -> ScalarPattern.Node {
        let node = try alternatives()
        guard at == source.count else { throw unknown("a bracket without its partner") }
        return node
    }

    private mutating func alternatives() throws -> ScalarPattern.Node {
        depth += 1
        guard depth < 20 else { throw unknown("more than 20 groups in one another") }
        defer { depth -= 1 }
        var ways: [ScalarPattern.Node] = []
        repeat {
            var parts: [ScalarPattern.Node] = []
            while let scalar = next, scalar != "|", scalar != ")" { parts.append(try quantified()) }
            ways.append(parts.count == 1 ? parts[0] : .all(parts))
        } while take("|")
        return ways.count == 1 ? ways[0] : .either(ways)
    }

    private mutating func quantified() throws -> ScalarPattern.Node {
        let node = try atom()
        guard let (least, most) = try bounds() else { return node }
        if next == "?" || next == "+" || next == "*" { throw unknown("a lazy or possessive repetition") }
        switch node {
        case .one: break
        case .ahead, .behind: throw unknown("a repeated condition")
        default: if most != 1 { throw unknown("a repeated group") }
        }
        return .several(node, least: least, most: most)
    }

    private mutating func bounds() throws -> (Int, Int)? {
        if take("?") { return (0, 1) }
        if take("*") { return (0, .max) }
        if take("+") { return (1, .max) }
        guard take("{") else { return nil }
        let least = try number()
        let most = take(",") ? (next == "}" ? Int.max : try number()) : least
        guard take("}"), least <= most, most > 0 else { throw unknown("an odd number of repetitions") }
        return (least, most)
    }

    private mutating func number() throws -> Int {
        let digits = source[at...].prefix { ("0"..."9").contains($0) }
        guard (1...5).contains(digits.count), let value = Int(String(String.UnicodeScalarView(digits))) else {
            throw unknown("an odd number of repetitions")
        }
        at += digits.count
        return value
    }

    private mutating func atom() throws -> ScalarPattern.Node {
        if take("(?=") { return .ahead(try closed(), isPresent: true) }
        if take("(?!") { return .ahead(try closed(), isPresent: false) }
        if take("(?<=") { return .behind(try single(), isPresent: true) }
        if take("(?<!") { return .behind(try single(), isPresent: false) }
        if take("(?i:") {
            let before = ignoresCase
            ignoresCase = true
            defer { ignoresCase = before }
            return try closed()
        }
        if take("(?:") { return try closed() }
        if take("(?") { throw unknown("an extension of groups") }
        if take("(") { return try closed() }
        if take("[") { return .one(try list()) }
        return .one(ScalarSet(members: [try member()], ignoresCase: ignoresCase))
    }

    private mutating func closed() throws -> ScalarPattern.Node {
        let node = try alternatives()
        guard take(")") else { throw unknown("a bracket without its partner") }
        return node
    }

    private mutating func single() throws -> ScalarSet {
        guard case .one(let set) = try closed() else { throw unknown("a look-behind of more than one character") }
        return set
    }

    /// One character outside brackets.
    private mutating func member() throws -> ScalarSet.Member {
        guard let scalar = next else { throw unknown("an end where a character should be") }
        at += 1
        switch scalar {
        case "\\": return try escape()
        case "?", "*", "+", "{", "}", ".", "^", "$", "]": throw unknown("a bare \(scalar)")
        default: return .range(scalar.value...scalar.value)
        }
    }

    private mutating func list() throws -> ScalarSet {
        var set = ScalarSet(isNegated: take("^"), ignoresCase: ignoresCase)
        while !take("]") {
            guard let scalar = next, scalar != "[", !(scalar == "&" && source[at...].starts(with: "&&".unicodeScalars))
            else {
                throw unknown("a list in a list")
            }
            at += 1
            let member = scalar == "\\" ? try escape() : .range(scalar.value...scalar.value)
            if next == "-", at + 1 < source.count, source[at + 1] != "]" {
                at += 1
                set.members.append(try through(member))
            } else {
                set.members.append(member)
            }
        }
        guard !set.members.isEmpty else { throw unknown("an empty list") }
        return set
    }

    private mutating func through(_ first: ScalarSet.Member) throws -> ScalarSet.Member {
        let scalar = source[at]
        at += 1
        let last = scalar == "\\" ? try escape() : .range(scalar.value...scalar.value)
        guard case .range(let low) = first, case .range(let high) = last, low.count == 1, high.count == 1,
            low.lowerBound <= high.lowerBound
        else { throw unknown("an odd range") }
        return .range(low.lowerBound...high.lowerBound)
    }

    private mutating func escape() throws -> ScalarSet.Member {
        if take("p{L}") { return .letter }
        if take("p{N}") { return .number }
        guard let scalar = next else { throw unknown("an end where a character should be") }
        at += 1
        switch scalar {
        case "s": return .space
        case "S": return .notSpace
        case "n": return .range(0x0A...0x0A)
        case "r": return .range(0x0D...0x0D)
        case "t": return .range(0x09...0x09)
        case "a"..."z", "A"..."Z", "0"..."9": throw unknown("\\\(scalar)")
        default: return .range(scalar.value...scalar.value)
        }
    }
}
