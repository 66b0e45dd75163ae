package phantom.edge.core

/**
 * A template with its tokenizer: from a question to ids in which the template alone brings control tokens.
 *
 * A tokenizer cuts its added tokens out of a text wherever they are written, also inside a question: `</s>` there would
 * be the token that ends a text. Such a question is refused.
 */
internal class PromptEncoder(private val template: PromptTemplate, private val tokenizer: Tokenizer) {
    /** The ids of a first prompt. Throws [InputException] for a question that would bring a control token. */
    fun first(question: String, imageTokens: Int?): List<Int> {
        val opening = template.opening(imageTokens)
        return encode(question, opening + template.asking(question), opening + template.asking(""))
    }

    /** The ids of what follows an answer, from its end token on. Throws as [first] does. */
    fun next(question: String): List<Int> = encode(question, template.next(question), template.next(""))

    /**
     * The tokens of an answer as they stand behind the prompt. Throws [InputException] for one that would bring a control
     * token.
     */
    fun answer(text: String): List<Int> {
        val start = tokenizer.encode(template.assistantStart)
        val whole = tokenizer.encode(template.assistantStart + text)
        val ids = if (whole.take(start.size) == start) whole.drop(start.size) else tokenizer.encode(text)
        controls(ids).firstOrNull()?.let {
            throw InputException("the choice holds ${tokenizer.controlTokens[it]}, which is reserved for the prompt: remove it")
        }
        return ids
    }

    private fun encode(question: String, whole: String, blank: String): List<Int> {
        tokenizer.controlTokens.values.firstOrNull { it in question }?.let { throw PromptTemplate.reserved(it) }
        val ids = tokenizer.encode(whole)
        // Compared as ids too, because a tokenizer also finds tokens in its normalised form of a text.
        if (controls(ids) != controls(tokenizer.encode(blank))) {
            val name = controls(tokenizer.encode(question)).firstOrNull()?.let { tokenizer.controlTokens[it] }
            throw PromptTemplate.reserved(name ?: "a control token")
        }
        return ids
    }

    // What stands for an unknown character is no sign that its name was written.
    private fun controls(ids: List<Int>): List<Int> =
        ids.filter { it in tokenizer.controlTokens && it != tokenizer.unknownId }
}
