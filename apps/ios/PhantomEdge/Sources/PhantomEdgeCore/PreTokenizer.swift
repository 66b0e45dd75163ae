/// How normalised text is cut into words, and whether their characters stand for bytes: a step of a `tokenizer.json`.
enum PreTokenizer: Sendable {
    /// At the matches of an expression, which are words as much as what lies between them.
    case split(ScalarPattern)
    /// Bytes, each written as a printable character; cut by GPT-2's expression first, if asked for.
    case byteLevel(ScalarPattern?, addsSpace: Bool)
    /// Spaces written as `mark`, one put in front where `scheme` says so.
    case metaspace(mark: Unicode.Scalar, scheme: Scheme, splits: Bool)

    enum Scheme: String, Sendable { case first, always, never }

    private static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    /// The steps of `pre_tokenizer`, in order. Throws `PhantomEdgeError.bundle` for one that is not known here.
    static func steps(_ json: Json?) throws -> [PreTokenizer] {
        guard let json else { return [] }
        return try (json["pretokenizers"]?.items ?? [json]).map(step)
    }

    private static func step(_ json: Json) throws -> PreTokenizer {
        let kind = json["type"]?.string ?? "nothing"
        switch kind {
        case "ByteLevel":
            let cuts = json["use_regex"]?.flag ?? true
            return .byteLevel(cuts ? try ScalarPattern(gpt2) : nil, addsSpace: json["add_prefix_space"]?.flag ?? true)
        case "Split" where json["behavior"]?.string == "Isolated" && json["invert"]?.flag != true:
            if let source = json["pattern"]?["Regex"]?.string { return .split(try ScalarPattern(source)) }
        case "Metaspace":
            let mark = json["replacement"]?.string?.unicodeScalars.first ?? "▁"
            let scheme = Scheme(rawValue: json["prepend_scheme"]?.string ?? "always") ?? .always
            return .metaspace(mark: mark, scheme: scheme, splits: json["split"]?.flag ?? true)
        default: break
        }
        throw PhantomEdgeError.bundle(
            "the tokenizer's pre-tokenizer has a \(kind) that is not known here: see the docs")
    }

    /// The words of a piece of text, as the vocabulary writes them. `isFirst`: the piece begins the whole text.
    func words(_ text: [Unicode.Scalar], isFirst: Bool) throws -> [[Unicode.Scalar]] {
        guard !text.isEmpty else { return [] }
        switch self {
        case .split(let pattern):
            return try pattern.split(text).map { Array(text[$0.range]) }
        case .byteLevel(let pattern, let addsSpace):
            let spaced = addsSpace && text[0] != " " ? [" "] + text : text
            let ranges = try pattern?.split(spaced).map(\.range) ?? [0..<spaced.count]
            return ranges.map { ByteAlphabet.characters(Array(spaced[$0])) }
        case .metaspace(let mark, let scheme, let splits):
            let marked = text.map { $0 == " " ? mark : $0 }
            let prepends = marked[0] != mark && (scheme == .always || scheme == .first && isFirst)
            let whole = prepends ? [mark] + marked : marked
            guard splits else { return [whole] }
            let starts = [0] + whole.indices.dropFirst().filter { whole[$0] == mark }
            return zip(starts, starts.dropFirst() + [whole.count]).map { Array(whole[$0..<$1]) }
        }
    }
}

/// The byte-level vocabulary's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards.
enum ByteAlphabet {
    private static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (UInt8(0)...255).map { byte in
            if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE {
                return Unicode.Scalar(byte)
            }
            defer { next += 1 }
            return Unicode.Scalar(next) ?? "\u{FFFD}"
        }
    }()

    private static let bytes = Dictionary(uniqueKeysWithValues: scalars.enumerated().map { ($1, UInt8($0)) })

    /// The text's UTF-8 bytes as characters.
    static func characters(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.flatMap { String($0).utf8.map { scalars[Int($0)] } }
    }

    /// The bytes that a token's characters stand for; the token's own UTF-8 when one stands for none.
    static func bytes(of token: [UInt8]) -> [UInt8] {
        let characters = Array(String(decoding: token, as: UTF8.self).unicodeScalars)
        let values = characters.compactMap { bytes[$0] }
        return values.count == characters.count ? values : token
    }
}
