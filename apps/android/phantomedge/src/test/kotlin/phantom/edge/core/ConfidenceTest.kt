package phantom.edge.core

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** The probability of a free answer, by the vectors that every language is held to. */
class ConfidenceTest {
    @Test
    fun itIsThatOfEveryLanguage() {
        val cases = JsonReader.read(File(Vectors.folder(), "confidence.json").readBytes()) as List<*>
        assertTrue(cases.size > 8)
        for (case in cases) {
            val (name, tokens) = case.text("name") to case.ints("tokens")
            val rows = (case["rows"] as List<*>).map { row -> (row as List<*>).map { (it as Number).toFloat() }.toFloatArray() }
            val confidence = Confidence(case.ints("ends"))
            for ((row, token) in rows.zip(tokens)) confidence.add(row, token)
            val value = confidence.ended(rows.getOrNull(tokens.size))
            val expected = (case["confidence"] as Number?)?.toDouble()
            if (expected == null) {
                assertNull(value, name)
            } else {
                assertEquals(expected, value!!, 1e-12 + 2e-5 * expected, name)
                assertTrue(value <= 1, name)
            }
        }
    }
}
