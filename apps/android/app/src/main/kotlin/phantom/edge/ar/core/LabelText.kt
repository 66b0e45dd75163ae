package phantom.edge.ar.core

/** What a label says: a question and its answer, while that streams in and afterwards. */
data class LabelText(
    val question: String = "",
    val verdict: Verdict = Verdict(""),
    /** What the model looks at; null before the first question. */
    val frame: Frame? = null,
    private val complete: String = "",
) {
    val answer: String
        get() = verdict.text

    /** A question is being asked; its last answer stays until there is another. */
    fun begin(next: String, frame: Frame): LabelText =
        if (next == question) copy(frame = frame) else LabelText(next, frame = frame)

    /** The answer so far. While it repeats the last one, that stays: an unchanged answer does not flicker. */
    fun stream(text: String): LabelText = if (complete.startsWith(text)) this else copy(verdict = Verdict(text))

    fun finish(verdict: Verdict): LabelText = copy(verdict = verdict, complete = verdict.answer)
}
