import Foundation

/// A bundle's `tokenizer.json`: ids without BOS or anything else added, and text from ids.
///
/// Read here and not by a package: it works offline, it keeps tokens apart that Swift's strings take for equal, and it
/// gives the ids that the model was checked with. A tokenizer with a part that is not known here is refused by name.
public struct Tokenizer: Sendable {
    static let fileLimit = 64 << 20

    let decoder: TextDecoder
    /// Added tokens that no user's text may bring, by id: special ones, and what is written `<so>`.
    let controlTokens: [Int: String]
    /// Of the token that stands for characters without one of their own.
    let unknownId: Int?
    private let normalizers: [Normalizer]
    private let preTokenizers: [PreTokenizer]
    private let model: BytePairs
    private let written: AddedTokens  // looked for in the text as it is
    private let normalized: AddedTokens  // looked for in the normalised text
    private let ids: [[UInt8]: Int]
    private let texts: [Int: [UInt8]]
    private let special: Set<Int>

    /// Throws `PhantomEdgeError.bundle` for a file that is no tokenizer, or one that needs what is not known here.
    public init(json data: Data) throws {
        let json = try Json(data)
        normalizers = try Normalizer.steps(json["normalizer"])
        preTokenizers = try PreTokenizer.steps(json["pre_tokenizer"])
        decoder = try TextDecoder(json["decoder"])
        model = try BytePairs(json["model"])
        let added = try AddedTokens(json["added_tokens"])
        let steps = normalizers
        written = AddedTokens(added.tokens.filter { !$0.isNormalized })
        normalized = AddedTokens(
            try added.tokens.filter(\.isNormalized).map { token in
                AddedTokens.Token(
                    id: token.id, content: try steps.reduce(token.content) { try $1.apply($0) },
                    stripsLeft: token.stripsLeft,
                    stripsRight: token.stripsRight, isNormalized: true, isSpecial: token.isSpecial)
            })
        var ids = model.tokens.mapValues(Int.init)
        for token in added.tokens { ids[token.content.flatMap { Array(String($0).utf8) }] = token.id }
        self.ids = ids
        unknownId = (json["model"]?["unk_token"]?.string).flatMap { ids[Array($0.utf8)] }
        var texts = Dictionary(model.tokens.map { (Int($1), $0) }, uniquingKeysWith: { first, _ in first })
        // A normalised token is decoded from its normal form, as in the `tokenizers` library.
        for token in written.tokens + normalized.tokens {
            texts[token.id] = token.content.flatMap { Array(String($0).utf8) }
        }
        self.texts = texts
        special = Set(added.tokens.filter(\.isSpecial).map(\.id))
        let control = added.tokens.filter { $0.isSpecial || PromptTemplate.isMarker($0.text) }
        controlTokens = Dictionary(control.map { ($0.id, $0.text) }, uniquingKeysWith: { first, _ in first })
    }

    /// Ids of `text`. Nothing is put before or after; a token's own text in it becomes that token.
    ///
    /// Throws `PhantomEdgeError.input` for a text that is too long for the tokenizer's expressions.
    public func encode(_ text: String) throws -> [Int] {
        var result: [Int] = []
        for piece in written.split(Array(text.unicodeScalars)) {
            switch piece {
            case .token(let id):
                result.append(id)
            case .text(let part, let start):
                result += try encode(normalizers.reduce(part) { try $1.apply($0) }, isFirst: start == 0)
            }
        }
        return result
    }

    private func encode(_ text: [Unicode.Scalar], isFirst: Bool) throws -> [Int] {
        try normalized.split(text).flatMap { piece -> [Int] in
            switch piece {
            case .token(let id): return [id]
            case .text(let part, let start):
                let words = try preTokenizers.reduce([part]) { words, step in
                    try words.enumerated().flatMap { try step.words($1, isFirst: isFirst && start == 0 && $0 == 0) }
                }
                return words.flatMap(model.encode)
            }
        }
    }

    /// Text of `ids`. Bytes that form no character become U+FFFD, ids without a token nothing.
    public func decode(_ ids: [Int], skippingSpecial: Bool = true) -> String {
        var stream = stream(skippingSpecial: skippingSpecial)
        return ids.map { stream.push($0) }.joined() + stream.finish()
    }

    /// A new stream of text: what `push` and `finish` give, joined, is what `decode` gives.
    public func stream(skippingSpecial: Bool = true) -> TextStream {
        TextStream(self, skipsSpecial: skippingSpecial)
    }

    /// Id of the token written exactly so.
    public func id(of text: String) -> Int? { ids[Array(text.utf8)] }

    /// What a token adds to a text, in UTF-8; empty for an id without a token.
    func bytes(of id: Int) -> [UInt8] { texts[id].map(decoder.bytes) ?? [] }

    func isSpecial(_ id: Int) -> Bool { special.contains(id) }
}
