/// How a token becomes bytes: the `decoder` of a `tokenizer.json`.
struct TextDecoder: Sendable {
    let isByteLevel: Bool
    private let replacements: [(old: [Unicode.Scalar], new: [Unicode.Scalar])]
    private let hasByteTokens: Bool
    /// Spaces that go at the very start of a text.
    let spacesToStrip: Int

    /// Throws `PhantomEdgeError.bundle` for a decoder that is missing or not known here.
    init(_ json: Json?) throws {
        let steps = json?["decoders"]?.items ?? (json.map { [$0] } ?? [])
        let kinds = steps.map { $0["type"]?.string ?? "" }
        guard !steps.isEmpty else {
            throw PhantomEdgeError.bundle("the tokenizer has no decoder, so that ids cannot become text")
        }
        var (replacements, spaces): ([(old: [Unicode.Scalar], new: [Unicode.Scalar])], Int) = ([], 0)
        isByteLevel = kinds == ["ByteLevel"]
        for (step, kind) in zip(steps, kinds) where !isByteLevel {
            let content = step["content"]?.string
            switch kind {
            case "ByteFallback", "Fuse":
                break
            case "Replace":
                if let old = step["pattern"]?["String"]?.string, !old.isEmpty, let content {
                    replacements.append((Array(old.unicodeScalars), Array(content.unicodeScalars)))
                } else if let most = Self.leadingSpaces(step), kinds.contains("Fuse") {
                    spaces = most
                } else {
                    throw PhantomEdgeError.bundle(
                        "the tokenizer's decoder has a Replace that is not known here: see the docs")
                }
            case "Strip" where content == " " && step["stop"]?.integer == 0 && kinds.contains("Fuse"):
                spaces = step["start"]?.integer ?? 0
            case "Metaspace":
                replacements.append((Array((step["replacement"]?.string ?? "▁").unicodeScalars), [" "]))
                spaces = step["prepend_scheme"]?.string == "never" ? 0 : 1
            default:
                throw PhantomEdgeError.bundle(
                    "the tokenizer's decoder has \(kind), which is not known here: see the docs")
            }
        }
        (self.replacements, spacesToStrip, hasByteTokens) = (replacements, spaces, kinds.contains("ByteFallback"))
    }

    /// How many spaces a `Replace` takes from the start of the text; nil for any other `Replace`.
    private static func leadingSpaces(_ step: Json) -> Int? {
        guard let source = step["pattern"]?["Regex"]?.string, step["content"]?.string == "",
            case .all(let parts)? = try? ScalarPattern(source).root, parts.count == 2,
            case .behind(let before, isPresent: false) = parts[0], before.contains("a"), before.contains(" "),
            case .several(.one(let space), least: 1, let most) = parts[1], space.list == [" "]
        else { return nil }
        return most
    }

    /// A token's bytes, which may be part of a character.
    func bytes(of token: [UInt8]) -> [UInt8] {
        if isByteLevel { return ByteAlphabet.bytes(of: token) }
        if hasByteTokens, token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">"),
            let byte = UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
        {
            return [byte]
        }
        var text = Array(String(decoding: token, as: UTF8.self).unicodeScalars)
        for (old, new) in replacements { text = Normalizer.replacing(text, old, new) }
        return text.flatMap { Array(String($0).utf8) }
    }
}

/// Text of one sequence of ids as they come; a character spread over several ids comes with the last of them.
public struct TextStream: Sendable {
    private let tokenizer: Tokenizer
    private let skipsSpecial: Bool
    private var utf8: Utf8Stream
    private var spacesToStrip: Int

    init(_ tokenizer: Tokenizer, skipsSpecial: Bool) {
        (self.tokenizer, self.skipsSpecial) = (tokenizer, skipsSpecial)
        // A bad byte spoils itself only where tokens are bytes by name, as SentencePiece has it.
        utf8 = Utf8Stream(onePerByte: !tokenizer.decoder.isByteLevel)
        spacesToStrip = tokenizer.decoder.spacesToStrip
    }

    /// The text that this id makes certain, often its own, empty in the middle of a character.
    public mutating func push(_ id: Int) -> String {
        guard !(skipsSpecial && tokenizer.isSpecial(id)) else { return "" }
        return stripped(utf8.push(tokenizer.bytes(of: id)))
    }

    /// What is left when no id follows: U+FFFD for a character that was never completed.
    public mutating func finish() -> String { stripped(utf8.finish()) }

    private mutating func stripped(_ text: [Unicode.Scalar]) -> String {
        let spaces = min(text.prefix { $0 == " " }.count, spacesToStrip)
        spacesToStrip = spaces < text.count ? 0 : spacesToStrip - spaces
        var result = String.UnicodeScalarView()
        result.append(contentsOf: text[spaces...])
        return String(result)
    }
}

/// UTF-8 in pieces. A character that is cut off waits for its rest; what is no character becomes U+FFFD.
struct Utf8Stream: Sendable {
    /// One U+FFFD for each bad byte, instead of one for the longest beginning of a character.
    let onePerByte: Bool
    private var pending: [UInt8] = []

    init(onePerByte: Bool) { self.onePerByte = onePerByte }

    mutating func push(_ bytes: [UInt8]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        for byte in bytes { result += push(byte) }
        return result
    }

    mutating func finish() -> [Unicode.Scalar] {
        defer { pending = [] }
        return spoiled
    }

    private var spoiled: [Unicode.Scalar] {
        Array(repeating: "\u{FFFD}", count: onePerByte ? pending.count : min(pending.count, 1))
    }

    private mutating func push(_ byte: UInt8) -> [Unicode.Scalar] {
        if let first = pending.first {
            if Self.follows(byte, pending) {
                pending.append(byte)
                guard pending.count == Self.length(first) else { return [] }
                defer { pending = [] }
                return Array(String(decoding: pending, as: UTF8.self).unicodeScalars)
            }
            let before = spoiled
            pending = []
            return before + push(byte)
        }
        if byte < 0x80 { return [Unicode.Scalar(byte)] }
        if Self.length(byte) == 0 { return ["\u{FFFD}"] }
        pending = [byte]
        return []
    }

    /// Bytes of a character that begins so; 0 for a byte that begins none.
    private static func length(_ first: UInt8) -> Int {
        switch first {
        case 0xC2...0xDF: return 2
        case 0xE0...0xEF: return 3
        case 0xF0...0xF4: return 4
        default: return 0
        }
    }

    /// Whether `byte` can come next: no overlong forms, no surrogates, nothing beyond U+10FFFF.
    private static func follows(_ byte: UInt8, _ pending: [UInt8]) -> Bool {
        guard pending.count == 1 else { return (0x80...0xBF).contains(byte) }
        switch pending[0] {
        case 0xE0: return (0xA0...0xBF).contains(byte)
        case 0xED: return (0x80...0x9F).contains(byte)
        case 0xF0: return (0x90...0xBF).contains(byte)
        case 0xF4: return (0x80...0x8F).contains(byte)
        default: return (0x80...0xBF).contains(byte)
        }
    }
}
