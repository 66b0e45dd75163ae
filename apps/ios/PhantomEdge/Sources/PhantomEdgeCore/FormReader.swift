/// Reads a form's regular expression. `whole` throws `PhantomEdgeError.input` for one that is not of the dialect, or too
/// large.
struct FormReader {
    static let mostCharacters = 2_000
    static let mostCount = 1_000
    static let mostStates = 10_000
    static let deepest = 100

    /// What was read, and its size: characters and classes, each as often as the largest count has it.
    private struct Sized {
        let syntax: FormSyntax
        let size: Int
    }

    private let source: ArraySlice<Unicode.Scalar>
    private var at: Int
    private var depth = 0

    init(_ pattern: String) throws {
        let scalars = Array(pattern.unicodeScalars)
        let start = scalars.first == "^" ? 1 : 0
        let slashes = scalars.dropLast().reversed().prefix { $0 == "\\" }.count
        let isAnchored = scalars.count > start && scalars.last == "$" && slashes % 2 == 0
        (source, at) = (scalars[start..<(scalars.count - (isAnchored ? 1 : 0))], start)
        guard scalars.count <= Self.mostCharacters else { throw refusal("has over \(Self.mostCharacters) characters") }
        guard !source.isEmpty else { throw refusal("is empty") }
    }

    mutating func whole() throws -> FormSyntax {
        let read = try alternatives()
        guard at == source.endIndex else { throw refusal("has a ) without its (") }
        return read.syntax
    }

    private var next: Unicode.Scalar? { at < source.endIndex ? source[at] : nil }

    private func refusal(_ what: String) -> PhantomEdgeError {
        .input("the form's regular expression \(what): see the docs for what it may be")
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard next == scalar else { return false }
        at += 1
        return true
    }

    private func sized(_ syntax: FormSyntax, _ size: Int) throws -> Sized {
        guard size <= Self.mostStates else {
            throw refusal("is too large: over \(Self.mostStates) characters when its counts are written out")
        }
        return Sized(syntax: syntax, size: size)
    }

    private mutating func alternatives() throws -> Sized {
        var ways: [Sized] = []
        repeat { ways.append(try sequence()) } while take("|")
        if ways.count == 1 { return ways[0] }
        return try sized(.either(ways.map(\.syntax)), ways.reduce(0) { $0 + $1.size })
    }

    private mutating func sequence() throws -> Sized {
        var parts: [Sized] = []
        while let scalar = next, scalar != "|", scalar != ")" { parts.append(try repeated()) }
        switch parts.count {
        case 0: return Sized(syntax: .empty, size: 1)
        case 1: return parts[0]
        default: return try sized(.all(parts.map(\.syntax)), parts.reduce(0) { $0 + $1.size })
        }
    }

    private mutating func repeated() throws -> Sized {
        let part = try atom()
        guard let (least, most) = try counts() else { return part }
        switch next {
        case "?": throw refusal("has a lazy repetition (?), which is not known here")
        case "+": throw refusal("has a possessive repetition (+), or two in a row")
        case "*", "{": throw refusal("has two repetitions in a row: put the first into a group")
        default: break
        }
        let largest = max(most == FormSyntax.withoutEnd ? least : most, 1)
        return try sized(.repeating(part.syntax, least: least, most: most), part.size * largest)
    }

    private mutating func counts() throws -> (Int, Int)? {
        if take("?") { return (0, 1) }
        if take("*") { return (0, FormSyntax.withoutEnd) }
        if take("+") { return (1, FormSyntax.withoutEnd) }
        guard take("{") else { return nil }
        let least = try number()
        let most = take(",") ? (next == "}" ? FormSyntax.withoutEnd : try number()) : least
        guard take("}"), least <= most else { throw refusal("has a count that is none: write {2}, {2,} or {2,3}") }
        return (least, most)
    }

    private mutating func number() throws -> Int {
        let digits = source[at...].prefix { ("0"..."9").contains($0) }
        guard !digits.isEmpty else { throw refusal("has a { that begins no count: write \\{ for the character") }
        at += digits.count
        let value = digits.drop { $0 == "0" }
        let number = Int(String(String.UnicodeScalarView(value.prefix(5)))) ?? 0
        guard value.count <= 4, number <= Self.mostCount else { throw refusal("has a count over \(Self.mostCount)") }
        return number
    }

    private mutating func atom() throws -> Sized {
        guard let scalar = next else { throw refusal("ends too early") }
        at += 1
        switch scalar {
        case "(": return try group()
        case "[": return Sized(syntax: .one(try list()), size: 1)
        case ".": return Sized(syntax: .one(FormSyntax.others([0x0A...0x0A])), size: 1)
        case "\\": return Sized(syntax: .one(try escape()), size: 1)
        case "?", "*", "+": throw refusal("repeats nothing: a \(scalar) follows no character")
        case "{": throw refusal("has a { that follows no character: write \\{ for the character")
        case "^", "$": throw refusal("has a \(scalar) that is not at its end: write \\\(scalar) for the character")
        default: return Sized(syntax: .one(Self.single(scalar)), size: 1)
        }
    }

    private mutating func group() throws -> Sized {
        if take("?"), !take(":") { throw refusal(`extension`) }
        depth += 1
        guard depth <= Self.deepest else { throw refusal("has groups over \(Self.deepest) deep") }
        let inner = try alternatives()
        depth -= 1
        guard take(")") else { throw refusal("has a ( without its )") }
        return inner
    }

    /// What a group that begins with `(?` would be elsewhere.
    private var `extension`: String {
        let rest = source[at...].prefix(2).map(String.init).joined()
        if ["=", "!"].contains(rest.prefix(1)) || ["<=", "<!"].contains(rest) {
            return "has a look-around, which is not known here"
        }
        if rest == "P=" { return "has a back reference, which is not known here" }
        if rest.hasPrefix(">") { return "has a possessive group, which is not known here" }
        if rest.hasPrefix("-") || rest.unicodeScalars.first.map({ ("a"..."z").contains($0) }) == true {
            return "has a flag, which is not known here"
        }
        return "has a (? that begins no group: write (?: or ("
    }

    private mutating func list() throws -> [ClosedRange<Int>] {
        let isNegated = take("^")
        var ranges: [ClosedRange<Int>] = []
        if next == "]" { throw refusal("has an empty class, or a ] at its beginning: write \\]") }
        while !take("]") {
            let first = try member()
            if next == "-", at + 1 < source.endIndex, source[at + 1] != "]" {
                at += 1
                ranges.append(try through(first, member()))
            } else {
                ranges += first
            }
        }
        return isNegated ? FormSyntax.others(ranges) : FormSyntax.joined(ranges)
    }

    private func through(_ low: [ClosedRange<Int>], _ high: [ClosedRange<Int>]) throws -> ClosedRange<Int> {
        let (start, end) = (low[0].lowerBound, high[0].lowerBound)
        guard low + high == [start...start, end...end], start <= end else {
            throw refusal("has a range in a class that is none")
        }
        return start...end
    }

    private mutating func member() throws -> [ClosedRange<Int>] {
        guard let scalar = next else { throw refusal("has a [ without its ]") }
        at += 1
        if scalar == "[" { throw refusal("has a [ in a class: write \\[") }
        return scalar == "\\" ? try escape() : Self.single(scalar)
    }

    private mutating func escape() throws -> [ClosedRange<Int>] {
        guard let scalar = next else { throw refusal("ends with a \\") }
        at += 1
        if let ranges = Self.classes[scalar] { return ranges }
        switch scalar {
        case "n": return Self.single("\n")
        case "r": return Self.single("\r")
        case "t": return Self.single("\t")
        case "1"..."9": throw refusal("has a back reference or an unknown escape, \\\(scalar)")
        case "a"..."z", "A"..."Z", "0": throw refusal("has an unknown escape, \\\(scalar)")
        default: return Self.single(scalar)
        }
    }

    private static func single(_ scalar: Unicode.Scalar) -> [ClosedRange<Int>] {
        [Int(scalar.value)...Int(scalar.value)]
    }

    private static let digits = [0x30...0x39]
    private static let words = digits + [0x41...0x5A, 0x5F...0x5F, 0x61...0x7A]
    private static let spaces = [0x09...0x0D, 0x20...0x20]
    private static let classes: [Unicode.Scalar: [ClosedRange<Int>]] = [
        "d": digits, "w": words, "s": spaces,
        "D": FormSyntax.others(digits), "W": FormSyntax.others(words), "S": FormSyntax.others(spaces),
    ]
}
