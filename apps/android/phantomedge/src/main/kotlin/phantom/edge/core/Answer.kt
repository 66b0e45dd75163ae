package phantom.edge.core

/**
 * How a question is to be answered: the most tokens, texts that end the answer and are no part of it, how tokens are
 * chosen, and what the answer may be, null for anything.
 */
class AnswerOptions(
    val maxTokens: Int = 256,
    val stops: List<String> = emptyList(),
    val sampling: Sampling = Sampling.GREEDY,
    val form: Form? = null,
)

/** Why an answer ended. */
enum class StopReason {
    /** The model said so. */
    END,

    /** [AnswerOptions.maxTokens]. */
    LENGTH,

    /** The context is full. */
    CONTEXT,

    /** One of [AnswerOptions.stops]. */
    STOP,

    /** The device is too warm; see [Pacing.stopsAt]. */
    THERMAL,
}

/** Seconds and counts of one answer, and how sure the model is of it. */
class Timing internal constructor(
    /** Tokens of the prompt. */
    val promptTokens: Int = 0,
    /** How many of them were in the cache already. */
    val reusedTokens: Int = 0,
) {
    var vision: Double = 0.0
        internal set
    var prefill: Double = 0.0
        internal set
    var decode: Double = 0.0
        internal set
    var newTokens: Int = 0
        internal set

    /** Null until the answer has ended. */
    var stop: StopReason? = null
        internal set

    /**
     * The probability that the model itself gave to the answer's tokens and to their end; null until the answer has ended
     * by [StopReason.END], and for one of more than twelve tokens.
     */
    var confidence: Double? = null
        internal set

    /** Time to the first token. */
    val firstToken: Double
        get() = vision + prefill
}

/** Passes text on up to the first stop text, holding back what could be its beginning. */
internal class StopFilter(private val stops: List<String>) {
    private var unsent = ""
    var hasStopped = false
        private set

    /** The text that is certain to be part of the answer. */
    fun push(piece: String): String {
        if (hasStopped) return ""
        unsent += piece
        val cut = stops.map { unsent.indexOf(it) }.filter { it >= 0 }.minOrNull()
        hasStopped = cut != null
        val beginnings = stops.flatMap { stop -> (1 until stop.length).filter { unsent.endsWith(stop.take(it)) } }
        return take(cut ?: (unsent.length - (beginnings.maxOrNull() ?: 0)))
    }

    /** What was held back, once nothing follows. */
    fun finish(): String = if (hasStopped) "" else take(unsent.length)

    private fun take(count: Int): String = unsent.take(count).also { unsent = unsent.drop(count) }
}
