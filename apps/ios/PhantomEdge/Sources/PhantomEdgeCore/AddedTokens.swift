/// Tokens that are cut out of the text as they are written, before anything else is done to it.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        let id: Int
        let content: [Unicode.Scalar]
        let stripsLeft: Bool
        let stripsRight: Bool
        let isNormalized: Bool
        let isSpecial: Bool

        var text: String {
            var scalars = String.UnicodeScalarView()
            scalars.append(contentsOf: content)
            return String(scalars)
        }
    }

    /// A stretch of text between added tokens, or an added token.
    enum Piece {
        /// `start` is its place in the text that was searched.
        case text([Unicode.Scalar], start: Int)
        case token(Int)
    }

    let tokens: [Token]
    /// By their first character, the longest first.
    private let byFirst: [Unicode.Scalar: [Token]]

    /// Throws `PhantomEdgeError.bundle` for an entry that is malformed or matches in a way that is not known here.
    init(_ json: Json?) throws {
        try self.init(
            (json?.items ?? []).map { entry in
                guard let id = entry["id"]?.integer, id >= 0, let content = entry["content"]?.string else {
                    throw PhantomEdgeError.bundle("an added token of the tokenizer is damaged: export the bundle again")
                }
                guard entry["single_word"]?.flag != true else {
                    throw PhantomEdgeError.bundle("the added token \(content) is a single word: see the docs")
                }
                return Token(
                    id: id, content: Array(content.unicodeScalars), stripsLeft: entry["lstrip"]?.flag ?? false,
                    stripsRight: entry["rstrip"]?.flag ?? false, isNormalized: entry["normalized"]?.flag ?? true,
                    isSpecial: entry["special"]?.flag ?? false)
            })
    }

    init(_ tokens: [Token]) {
        self.tokens = tokens
        byFirst = Dictionary(grouping: tokens.filter { !$0.content.isEmpty }, by: { $0.content[0] })
            .mapValues { $0.sorted { $0.content.count > $1.content.count } }
    }

    /// The leftmost token at each place, the longest of several, with the white space that it takes along.
    func split(_ text: [Unicode.Scalar]) -> [Piece] {
        var (pieces, done, at): ([Piece], Int, Int) = ([], 0, 0)
        while at < text.count {
            guard let token = byFirst[text[at]]?.first(where: { text[at...].starts(with: $0.content) }) else {
                at += 1
                continue
            }
            var (start, end) = (at, at + token.content.count)
            at = end
            while token.stripsLeft, start > done, ScalarSet.isSpace(text[start - 1]) { start -= 1 }
            while token.stripsRight, end < text.count, ScalarSet.isSpace(text[end]) { end += 1 }
            if done < start { pieces.append(.text(Array(text[done..<start]), start: done)) }
            pieces.append(.token(token.id))
            done = end
        }
        if done < text.count { pieces.append(.text(Array(text[done...]), start: done)) }
        return pieces
    }
}
