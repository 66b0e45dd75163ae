package phantom.edge.core

/** What surrounds a question and an answer: no BOS, no system prompt, nothing after an end token. */
data class PromptTemplate(
    val name: String,
    val userStart: String,
    val userEnd: String,
    val assistantStart: String,
    val assistantEnd: String,
    val imageStart: String,
    val imageContext: String,
    val imageEnd: String,
) {
    /**
     * What stands before the question, as far as it does not depend on it.
     *
     * [imageTokens] is the number of image tokens; null asks without an image.
     */
    fun opening(imageTokens: Int?): String =
        if (imageTokens == null) userStart else userStart + imageStart + imageContext.repeat(imageTokens) + imageEnd

    /**
     * The question and what makes the model answer: with [opening] in front of it the whole first prompt.
     *
     * Throws [InputException] for a question that holds one of the template's own markers.
     */
    fun asking(question: String): String {
        // These strings become control tokens: text that holds one could end its turn, or claim a row of the image.
        (markers + "<image>").firstOrNull { it in question }?.let { throw reserved(it) }
        return question + userEnd + assistantStart
    }

    /** What follows a generated answer when another question is asked. It begins with the end token. */
    fun next(question: String): String = assistantEnd + userStart + asking(question)

    /** The markers `<…>` of this template, each once. */
    val markers: List<String>
        get() {
            val parts = listOf(userStart, userEnd, assistantStart, assistantEnd)
            val inParts = parts.flatMap { part -> MARKER.findAll(part).map { it.value } }
            return (inParts + imageStart + imageContext + imageEnd).distinct()
        }

    companion object {
        /** How a marker is written. */
        internal val MARKER = Regex("<[^<>\\s]+>")

        /** What a user is told whose question would become a control token. */
        internal fun reserved(token: String) =
            InputException("the question holds $token, which is reserved for the prompt: remove it")

        internal fun of(fields: Fields) =
            PromptTemplate(
                fields.text("prompt.name"),
                fields.text("prompt.user_start"),
                fields.text("prompt.user_end"),
                fields.text("prompt.assistant_start"),
                fields.text("prompt.assistant_end"),
                fields.text("prompt.image_start"),
                fields.text("prompt.image_context"),
                fields.text("prompt.image_end"),
            )
    }
}
