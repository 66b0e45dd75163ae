package phantom.edge.core

/** Tokens that are cut out of the text as they are written, before anything else is done to it. */
internal class AddedTokens(val tokens: List<Token>) {
    class Token(
        val id: Int,
        val content: String,
        val stripsLeft: Boolean,
        val stripsRight: Boolean,
        val isNormalized: Boolean,
        val isSpecial: Boolean,
    )

    /** A stretch of text between added tokens, [start] its place in what was searched, or an added token's [id]. */
    class Piece(val text: String?, val start: Int, val id: Int)

    /** By their first character, the longest first. */
    private val byFirst: Map<Char, List<Token>> =
        tokens.filter { it.content.isNotEmpty() }.groupBy { it.content[0] }
            .mapValues { (_, same) -> same.sortedByDescending { it.content.length } }

    /** The leftmost token at each place, the longest of several, with the white space that it takes along. */
    fun split(text: String): List<Piece> {
        val pieces = ArrayList<Piece>()
        var done = 0
        var at = 0
        while (at < text.length) {
            val token = byFirst[text[at]]?.firstOrNull { text.startsWith(it.content, at) }
            if (token == null) {
                at++
                continue
            }
            var (start, end) = at to at + token.content.length
            at = end
            while (token.stripsLeft && start > done && ScalarSet.isSpace(text[start - 1].code)) start--
            while (token.stripsRight && end < text.length && ScalarSet.isSpace(text[end].code)) end++
            if (done < start) pieces += Piece(text.substring(done, start), done, -1)
            pieces += Piece(null, start, token.id)
            done = end
        }
        if (done < text.length) pieces += Piece(text.substring(done), done, -1)
        return pieces
    }

    companion object {
        /** Throws [BundleException] for an entry that is malformed or matches in a way that is not known here. */
        fun of(json: Any?): AddedTokens =
            AddedTokens(
                (json as? List<*> ?: emptyList<Any?>()).map { entry ->
                    val id = entry["id"].int?.takeIf { it >= 0 }
                    val content = entry["content"] as? String
                    if (id == null || content == null) {
                        throw BundleException("an added token of the tokenizer is damaged: export the bundle again")
                    }
                    if (entry["single_word"] == true) {
                        throw BundleException("the added token $content is a single word: see the docs")
                    }
                    Token(
                        id, content, entry["lstrip"] == true, entry["rstrip"] == true, entry["normalized"] != false,
                        entry["special"] == true,
                    )
                },
            )
    }
}
