package phantom.edge.ar.core

import kotlin.math.roundToInt
import phantom.edge.core.StopReason

/**
 * What the app says of an answer: its text, and how sure the model is of it, in a few words that are empty where that is
 * not known. [isSure] is false for an answer out of a list that the model does not hold likely enough.
 */
data class Verdict(val text: String, val note: String = "", val isSure: Boolean = true) {
    /** What a screen reader says of it. */
    val spoken: String
        get() = if (note.isEmpty()) text else "$text, $note"

    companion object {
        /** [leastConfidence] is the least probability of a choice that counts as an answer. */
        fun of(answer: Answer, leastConfidence: Double): Verdict {
            val best = answer.likelihoods.firstOrNull()
            val sure = percent(best?.probability ?: 0.0)
            return when {
                best == null -> Verdict(shown(answer).ifEmpty { Phrase.NO_ANSWER.text() })
                best.probability >= leastConfidence -> Verdict(best.text, Phrase.SURE.text(sure))
                else -> Verdict(Phrase.NOT_SURE.text(), Phrase.PERHAPS.text(best.text, sure), isSure = false)
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
