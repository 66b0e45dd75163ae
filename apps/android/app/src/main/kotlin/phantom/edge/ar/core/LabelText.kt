package phantom.edge.ar.core

/** What a label says: a question and its answer, while that streams in and afterwards. */
data class LabelText(val question: String = "", val answer: String = "", private val complete: String = "") {
    /** A question is being asked; its last answer stays until there is another. */
    fun begin(next: String): LabelText = if (next == question) this else LabelText(next)

    /** The answer so far. While it repeats the last one, that stays: an unchanged answer does not flicker. */
    fun stream(text: String): LabelText = if (complete.startsWith(text)) this else copy(answer = text)

    fun finish(text: String): LabelText = copy(answer = text.ifEmpty { "No answer" }, complete = text)
}
