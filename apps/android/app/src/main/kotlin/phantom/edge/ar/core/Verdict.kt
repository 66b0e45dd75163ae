package phantom.edge.ar.core

import kotlin.math.roundToInt
import phantom.edge.core.StopReason

/**
 * What the app says of an answer: its text, and how sure the model is of it, in a few words that are empty where that is
 * not known. [isSure] is false for an answer that the model does not hold likely enough; [answer] are the model's own
 * words, which are the text where it is sure of them.
 */
data class Verdict(val text: String, val note: String = "", val isSure: Boolean = true, val answer: String = text) {
    /** What a screen reader says of it. */
    val spoken: String
        get() = if (note.isEmpty()) text else "$text, $note"

    /** Whether it says the same, however likely. */
    fun saysAlso(other: Verdict?) = answer == other?.answer && isSure == other.isSure

    companion object {
        /**
         * [leastConfidence] is the least probability that counts as an answer: of a choice among the others, of free words
         * among all.
         */
        fun of(answer: Answer, leastConfidence: Double): Verdict {
            val words = answer.text
            val choice = answer.likelihoods.firstOrNull()?.probability
            val probability = choice ?: answer.confidence ?: 1.0
            val sure = percent(probability)
            return when {
                words.isBlank() -> Verdict(Phrase.NO_ANSWER.text(), answer = "")
                probability < leastConfidence ->
                    Verdict(Phrase.NOT_SURE.text(), Phrase.PERHAPS.text(words, sure), isSure = false, answer = words)
                choice != null -> Verdict(words, Phrase.SURE.text(sure))
                else -> Verdict(shown(answer), answer = words)
            }
        }

        /** An answer that was cut short says so. */
        private fun shown(answer: Answer) =
            if (answer.stop == StopReason.END || answer.stop == StopReason.STOP) answer.text else "${answer.text} …"

        private fun percent(probability: Double): String =
            when {
                probability > 0.99 && probability < 1 -> Phrase.OVER.text("99 %")
                probability > 0 && probability < 0.01 -> Phrase.UNDER.text("1 %")
                else -> "${(100 * probability).roundToInt()} %"
            }
    }
}
