package phantom.edge.core

import kotlin.math.exp
import kotlin.math.ln

/**
 * How sure the model is of a free answer: the probability that it gave to just these tokens, and to their end. One rule in
 * every language. Ends may be several: their probabilities add up.
 *
 * It is the model's own, before a temperature or a form's mask, and costs a pass over the logits for each of the first
 * twelve tokens and one for the end.
 */
internal class Confidence(private val ends: List<Int>) {
    private var tokens = 0
    private var score = 0.0 // logarithm

    /** Goes on with a token and the logits that it was chosen from. */
    fun add(logits: FloatArray, token: Int) {
        if (++tokens <= MOST_TOKENS) score += logits[token] - logSum(logits)
    }

    /**
     * The probability of the whole answer, null where it has more than twelve tokens. [logits] are those that the end was
     * chosen from, null where a form left nothing but the end.
     */
    fun ended(logits: FloatArray?): Double? {
        if (tokens > MOST_TOKENS) return null
        val end = logits?.let { logSum(FloatArray(ends.size) { n -> it[ends[n]] }) - logSum(it) } ?: 0.0
        return exp(score + end).coerceAtMost(1.0)
    }

    private companion object {
        /** Of a longer answer the probability says little: many wordings are equally good, and share it. */
        const val MOST_TOKENS = 12
    }
}

/** The logarithm of the sum of the exponentials. */
internal fun logSum(logits: FloatArray): Double {
    var top = Double.NEGATIVE_INFINITY
    var sum = 0.0
    for (logit in logits) top = maxOf(top, logit.toDouble())
    for (logit in logits) sum += exp(logit - top)
    return top + ln(sum)
}
