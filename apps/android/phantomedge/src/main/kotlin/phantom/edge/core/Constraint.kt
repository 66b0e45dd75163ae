package phantom.edge.core

/** What may follow in an answer of a form. */
internal interface Constraint {
    /**
     * The same logits, minus infinity for every token that may not follow; with [isGreedy] perhaps also for those that
     * are not the likeliest that may. Throws [InputException] when none may.
     */
    fun limit(logits: FloatArray, isGreedy: Boolean): FloatArray

    /** A token has been chosen that is no end. */
    fun take(token: Int)

    /** Whether nothing but an end may follow. */
    val isComplete: Boolean

    companion object {
        internal fun refuse(): Nothing =
            throw InputException("the tokenizer has no token with which the form could go on: allow other texts")

        internal fun none(logits: FloatArray) = FloatArray(logits.size) { Float.NEGATIVE_INFINITY }
    }
}

/** An answer that is to match a pattern. */
internal class PatternConstraint(
    private val masks: TokenMasks,
    private val ends: List<Int>,
    private var place: FormPlace = masks.start,
) : Constraint {

    override fun limit(logits: FloatArray, isGreedy: Boolean): FloatArray {
        if (isGreedy) likeliest(logits)?.let { return it }
        val (mask, limited) = masks.mask(place) to Constraint.none(logits)
        val accepts = masks.accepts(place)
        if (!accepts && mask.isNone) Constraint.refuse()
        for (id in 0 until minOf(limited.size, 64 * mask.size)) if (mask[id shr 6] ushr (id and 63) and 1L == 1L) limited[id] = logits[id]
        if (accepts) for (id in ends) limited[id] = logits[id]
        return limited
    }

    /** The likeliest token alone, where it is one of the first few by likelihood: quicker than a look at all tokens. */
    private fun likeliest(logits: FloatArray): FloatArray? {
        val left = logits.copyOf()
        repeat(TRIES) {
            var best = 0
            for (id in left.indices) if (left[id] > left[best]) best = id
            val isAllowed = if (best in ends) masks.accepts(place) else masks.advance(place, best) != null
            if (isAllowed) return Constraint.none(logits).also { it[best] = logits[best] }
            left[best] = Float.NEGATIVE_INFINITY
        }
        return null
    }

    override fun take(token: Int) {
        place = masks.advance(place, token) ?: Constraint.refuse()
    }

    override val isComplete: Boolean
        get() = masks.isComplete(place)

    private companion object {
        const val TRIES = 8
    }

    private val LongArray.isNone
        get() = all { it == 0L }
}

/** The tokens of choices as a tree: what two begin with alike is there once. */
internal class ChoiceTree(choices: List<List<Int>>) {
    class Node {
        val children = LinkedHashMap<Int, Node>()

        /** The choice that ends here; null for none. */
        var choice: Int? = null
    }

    val root = Node()

    /** Of the longest choice, in tokens. */
    val depth: Int = choices.maxOf { it.size }

    init {
        choices.forEachIndexed { number, tokens ->
            tokens.fold(root) { node, token -> node.children.getOrPut(token) { Node() } }.choice = number
        }
    }
}

/** An answer that is to be one of some choices. */
internal class ChoiceConstraint(tree: ChoiceTree, private val ends: List<Int>) : Constraint {
    private var node = tree.root

    override fun limit(logits: FloatArray, isGreedy: Boolean): FloatArray {
        val limited = Constraint.none(logits)
        for (id in node.children.keys) limited[id] = logits[id]
        if (node.choice != null) for (id in ends) limited[id] = logits[id]
        return limited
    }

    override fun take(token: Int) {
        node = node.children[token] ?: Constraint.refuse()
    }

    override val isComplete: Boolean
        get() = node.children.isEmpty()
}

/** What a bundle's tokens are to forms: made when the first answer of a form is asked for. */
internal class Forms(private val manifest: Manifest, private val tokenizer: Tokenizer) {
    private val bytes by lazy { TokenBytes(List(manifest.vocabulary) { if (isText(it)) tokenizer.bytes(it) else ByteArray(0) }) }
    private val masks = LinkedHashMap<String, TokenMasks>()

    /** Throws [InputException] for choices that the tokenizer cannot write. */
    fun constraint(form: Form): Constraint {
        form.choices?.let { return ChoiceConstraint(tree(it), manifest.endIds) }
        return PatternConstraint(masks(form.regex.orEmpty()), manifest.endIds)
    }

    /** The canonical tokens of choices. Throws as [constraint] does. */
    fun tree(choices: List<String>): ChoiceTree {
        val prompts = PromptEncoder(manifest.prompt, tokenizer)
        return ChoiceTree(
            choices.map { text ->
                val ids = prompts.answer(text)
                if (tokenizer.decode(ids) != text) {
                    throw InputException("the tokenizer cannot write the choice ${text.take(40)}: word it otherwise")
                }
                ids
            },
        )
    }

    private fun masks(pattern: String): TokenMasks {
        masks[pattern]?.let { if (!it.isLarge) return it }
        if (masks.size == MOST_PATTERNS) masks.remove(masks.keys.first())
        return TokenMasks(pattern, bytes, tokenizer.decoder.spacesToStrip).also { masks[pattern] = it }
    }

    private fun isText(id: Int) = id !in manifest.endIds && id !in tokenizer.controlTokens

    private companion object {
        const val MOST_PATTERNS = 8
    }
}
