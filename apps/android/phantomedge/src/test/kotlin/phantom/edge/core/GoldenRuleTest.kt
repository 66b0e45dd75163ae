package phantom.edge.core

import java.io.File
import kotlin.math.abs
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** The rule of the golden file, on good and spoiled files and outputs, beside the Python package's judgement. */
class GoldenRuleTest {
    private val vectors = Vectors("goldens")

    @Test
    fun judgementsAreThePythonPackagesOwn() {
        for ((number, entry) in vectors.cases("cases").withIndex()) {
            val golden = Golden(File(vectors.folder, entry.text("file")))
            val rows = vectors.tensors.shape("$number.logits")
            val all = vectors.tensors.floats("$number.logits")
            val computed =
                Golden.Computed(
                    vectors.tensors.floats("$number.pixels"),
                    vectors.tensors.floats("$number.features"),
                    List(rows[0]) { all.copyOfRange(it * rows[1], (it + 1) * rows[1]) },
                )
            val what = "${entry["file"]}, ${entry["what"]}"
            val checks = golden.judge(computed)
            val expected = entry["checks"] as List<*>
            assertEquals(expected.map { it.text("name") }, checks.map { it.name }, what)
            for ((check, other) in checks.zip(expected)) {
                val value = other["value"] as Double? ?: Double.POSITIVE_INFINITY
                val isNear = check.value == value || abs(check.value - value) <= 1e-9 * abs(value)
                assertTrue(isNear, "$what, ${check.name}: ${check.value}, expected $value")
                assertEquals(other["limit"], check.limit, what)
                assertEquals(other["passed"], check.passed, "$what, ${check.name}")
            }
        }
    }

    @Test
    fun damagedFilesAreRefused() {
        val names = vectors.json.texts("refused")
        assertTrue(names.size > 20)
        for (name in names) assertFailsWith<BundleException>(name) { Golden(File(vectors.folder, name)) }
    }
}
