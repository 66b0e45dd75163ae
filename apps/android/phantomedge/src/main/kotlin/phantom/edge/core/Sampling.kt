package phantom.edge.core

import java.util.PriorityQueue
import kotlin.math.exp

/**
 * How the next token is chosen. [temperature] 0 is greedy; [topP] keeps the smallest set of tokens with at least that
 * probability (nucleus sampling, arXiv 1904.09751), [topK] so many of the likeliest, 0 all of them. The same [seed]
 * gives the same choices, here and on iOS; null draws one. Throws [InputException] for values that make no distribution.
 */
data class Sampling(
    val temperature: Double = 0.0,
    val topP: Double = 1.0,
    val seed: Long? = null,
    val topK: Int = 0,
) {
    init {
        if (temperature != 0.0 && temperature !in TEMPERATURES) {
            throw InputException("temperature is $temperature: use 0 (greedy), or 0.001 to 100")
        }
        if (!(topP > 0 && topP <= 1)) throw InputException("top-p is $topP: use more than 0 and at most 1")
        if (topK < 0) throw InputException("top-k is $topK: use a whole number, 0 for all")
    }

    /** A new sequence of choices. */
    internal fun chooser(): (FloatArray) -> Int {
        if (temperature == 0.0) return ::greedy
        val random = SplitMix64(seed ?: kotlin.random.Random.nextLong())
        return { logits ->
            val likeliest = Likeliest(logits, temperature)
            if (topP == 1.0 && topK == 0) {
                pick(likeliest, random.unit() * likeliest.total)
            } else {
                val kept = nucleus(likeliest)
                pick(kept.iterator(), random.unit() * kept.sumOf { it.weight })
            }
        }
    }

    /** The tokens that may follow, the likeliest first, with their weights. Needs a temperature above 0. */
    internal fun nucleus(likeliest: Likeliest): List<Weighted> {
        val kept = ArrayList<Weighted>()
        var sum = 0.0
        // Rounded, the sum may come to 1 before the last token.
        while ((topP == 1.0 || sum / likeliest.total < topP) && (topK == 0 || kept.size < topK) && likeliest.hasNext()) {
            kept += likeliest.next()
            sum += kept.last().weight
        }
        return kept
    }

    /** The token under [place] when the weights are laid end to end. */
    private fun pick(tokens: Iterator<Weighted>, place: Double): Int {
        var sum = 0.0
        var last = 0
        while (sum <= place && tokens.hasNext()) {
            val next = tokens.next()
            sum += next.weight
            last = next.id
        }
        return last
    }

    /** Of equal logits the first wins. */
    private fun greedy(logits: FloatArray): Int {
        var best = 0
        for (id in logits.indices) if (logits[id] > logits[best]) best = id
        return best
    }

    companion object {
        /** Below, the likeliest token has all the weight. */
        private val TEMPERATURES = 0.001..100.0

        val GREEDY = Sampling()
    }
}

internal class Weighted(val id: Int, val weight: Double)

/** Tokens from the likeliest on; of equal ones the smaller id comes first. Ordered only as far as it is asked. */
internal class Likeliest(logits: FloatArray, temperature: Double) : Iterator<Weighted> {
    /** Sum of all weights, the softmax's denominator. */
    val total: Double
    private val queue: PriorityQueue<Weighted>

    init {
        val top = logits.max() / temperature
        val weights = DoubleArray(logits.size) { exp(logits[it] / temperature - top) }
        total = weights.sum()
        queue = PriorityQueue(logits.size, compareBy<Weighted>({ -it.weight }, { it.id }))
        weights.forEachIndexed { id, weight -> queue += Weighted(id, weight) }
    }

    override fun hasNext(): Boolean = queue.isNotEmpty()

    override fun next(): Weighted = queue.remove()
}

/** SplitMix64 (Steele, Lea and Flood, 2014): a small generator that is the same everywhere. */
internal class SplitMix64(private var state: Long) {
    fun next(): Long {
        state += -0x61c8864680b583ebL // 0x9E3779B97F4A7C15
        var z = state
        z = (z xor (z ushr 30)) * -0x40a7b892e31b1a47L // 0xBF58476D1CE4E5B9
        z = (z xor (z ushr 27)) * -0x6b2fb644ecceee15L // 0x94D049BB133111EB
        return z xor (z ushr 31)
    }

    /** 0 up to, but not, 1, in steps of 2^-53. */
    fun unit(): Double = (next() ushr 11) * (1.0 / (1L shl 53))
}
