package phantom.edge.core

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith

/** What may be chosen is the published rule's; what is chosen is the same on every platform. */
class SamplingTest {
    @Test
    fun theNucleusAndItsDraws() {
        val vectors = Vectors()
        vectors.cases("sampling").forEachIndexed { place, expected ->
            val logits = vectors.tensors.floats("logits.$place")
            val temperature = expected["temperature"] as Double
            val sampling = Sampling(temperature, expected["top_p"] as Double, expected["seed"].long, expected["top_k"].int!!)
            val kept = sampling.nucleus(Likeliest(logits, temperature))
            assertEquals(expected.ints("ids"), kept.map { it.id })
            val total = kept.sumOf { it.weight }
            kept.zip(expected["probabilities"] as List<*>) { choice, value ->
                assertEquals(value as Double, choice.weight / total, 1e-12)
            }
            val choose = sampling.chooser()
            assertEquals(expected.ints("draws"), List(20) { choose(logits) })
            assertEquals(expected["greedy"].int, Sampling.GREEDY.chooser()(logits))
        }
    }

    @Test
    fun ofEqualLogitsTheFirstIsChosen() = assertEquals(1, Sampling.GREEDY.chooser()(floatArrayOf(0f, 2f, 1f, 2f)))

    @Test
    fun theGenerator() {
        for ((seed, values) in Vectors().json["splitmix"] as Map<*, *>) {
            val random = SplitMix64((seed as String).toULong().toLong())
            for (value in values as List<*>) assertEquals(value, random.next().toULong().toString())
        }
    }

    @Test
    fun valuesThatMakeNoDistributionAreRefused() {
        for ((temperature, topP) in listOf(-1.0 to 1.0, 0.0001 to 1.0, Double.NaN to 1.0, 1.0 to 0.0, 1.0 to 1.1, 1.0 to Double.NaN)) {
            assertFailsWith<InputException> { Sampling(temperature, topP) }
        }
        assertFailsWith<InputException> { Sampling(1.0, topK = -1) }
    }
}
