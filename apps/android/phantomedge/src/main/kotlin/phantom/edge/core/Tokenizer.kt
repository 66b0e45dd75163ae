package phantom.edge.core

/**
 * A bundle's `tokenizer.json`: ids without BOS or anything else added, and text from ids.
 *
 * It gives the ids that the model was checked with. Throws [BundleException] for a file that is no tokenizer, and for
 * one with a part that is not known here, by name.
 */
class Tokenizer(json: ByteArray) {
    internal val decoder: TextDecoder

    /** Added tokens that no user's text may bring, by id: special ones, and what is written `<so>`. */
    internal val controlTokens: Map<Int, String>

    /** Of the token that stands for characters without one of their own. */
    internal val unknownId: Int?
    private val normalizers: List<Normalizer>
    private val preTokenizers: List<PreTokenizer>
    private val model: BytePairs
    private val written: AddedTokens // looked for in the text as it is
    private val normalized: AddedTokens // looked for in the normalised text
    private val ids: Map<String, Int>
    private val texts: Map<Int, String>
    private val special: Set<Int>

    init {
        val file = JsonReader.read(json)
        normalizers = Normalizer.steps(file["normalizer"])
        preTokenizers = PreTokenizer.steps(file["pre_tokenizer"])
        decoder = TextDecoder(file["decoder"])
        model = BytePairs(file["model"])
        val added = AddedTokens.of(file["added_tokens"]).tokens
        written = AddedTokens(added.filter { !it.isNormalized })
        normalized =
            AddedTokens(
                added.filter { it.isNormalized }.map {
                    val content = normalizers.apply(it.content)
                    AddedTokens.Token(it.id, content, it.stripsLeft, it.stripsRight, true, it.isSpecial)
                },
            )
        ids = model.tokens + added.associate { it.content to it.id }
        unknownId = (file["model"]["unk_token"] as? String)?.let { ids[it] }
        // A normalised token is decoded from its normal form, as in the `tokenizers` library.
        val texts = written.tokens + normalized.tokens
        this.texts = model.tokens.entries.associate { it.value to it.key } + texts.associate { it.id to it.content }
        special = added.filter { it.isSpecial }.map { it.id }.toSet()
        controlTokens =
            added.filter { it.isSpecial || PromptTemplate.MARKER.matches(it.content) }.sortedBy { it.id }
                .associate { it.id to it.content }
    }

    /**
     * Ids of [text]. Nothing is put before or after; a token's own text in it becomes that token.
     *
     * Throws [InputException] for a text that is not valid Unicode.
     */
    fun encode(text: String): List<Int> {
        text.codes()
        return written.split(text).flatMap { piece ->
            if (piece.text == null) listOf(piece.id) else encodePart(normalizers.apply(piece.text), piece.start == 0)
        }
    }

    private fun encodePart(text: String, isFirst: Boolean): List<Int> =
        normalized.split(text).flatMap { piece ->
            if (piece.text == null) return@flatMap listOf(piece.id)
            words(piece.text, isFirst && piece.start == 0).flatMap(model::encode)
        }

    private fun words(text: String, isFirst: Boolean): List<String> =
        preTokenizers.fold(listOf(text)) { words, step ->
            words.flatMapIndexed { place, word -> step.words(word, isFirst && place == 0) }
        }

    /** Text of [ids]. Bytes that form no character become U+FFFD, ids without a token nothing. */
    fun decode(ids: List<Int>, skipSpecial: Boolean = true): String {
        val stream = stream(skipSpecial)
        return ids.joinToString("") { stream.push(it) } + stream.finish()
    }

    /** A new stream of text: what `push` and `finish` give, joined, is what [decode] gives. */
    fun stream(skipSpecial: Boolean = true): TextStream = TextStream(this, skipSpecial)

    /** Id of the token written exactly so. */
    fun id(text: String): Int? = ids[text]

    /** What a token adds to a text, in UTF-8; empty for an id without a token. */
    internal fun bytes(id: Int): ByteArray = texts[id]?.let(decoder::bytes) ?: ByteArray(0)

    internal fun isSpecial(id: Int): Boolean = id in special

    companion object {
        internal const val FILE_LIMIT = 64L shl 20
    }
}
