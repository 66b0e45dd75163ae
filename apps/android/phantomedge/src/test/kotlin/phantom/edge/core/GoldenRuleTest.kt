package phantom.edge.core

import java.io.File
import kotlin.math.abs
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** The rule of the golden file, on the good and spoiled files and outputs that all languages judge. */
class GoldenRuleTest {
    private val folder = Vectors.folder()
    private val json = JsonReader.read(File(folder, "goldens.json").readBytes())

    @Test
    fun verdictsAreThePythonPackagesOwn() {
        val cases = json["cases"] as List<*>
        assertTrue(cases.size > 20)
        for (case in cases) {
            val computed = case["computed"]
            val rows = (computed["logits"] as List<*>).map { floats(it) }
            val outputs = Golden.Computed(floats(computed["pixel_values"]), floats(computed["image_features"]), rows)
            val checks = Golden(File(folder, case.text("file"))).judge(outputs)
            val expected = case["checks"] as Map<*, *>
            val name = case.text("name")
            assertEquals(expected.keys.toList(), checks.map { it.name }, name)
            for (check in checks) {
                val value = expected[check.name] as Double? ?: Double.POSITIVE_INFINITY
                val isNear = check.value == value || abs(check.value - value) <= 1e-9 * abs(value)
                assertTrue(isNear, "$name, ${check.name}: ${check.value}, expected $value")
            }
            assertEquals(case.texts("failing"), checks.filter { !it.passed }.map { it.name }, name)
        }
    }

    /** Null stands for a value that is not finite. */
    private fun floats(list: Any?): FloatArray =
        (list as List<*>).map { (it as Double?)?.toFloat() ?: Float.NaN }.toFloatArray()

    @Test
    fun damagedFilesAreRefused() {
        val names = json.texts("refused")
        assertTrue(names.size > 15)
        for (name in names) assertFailsWith<BundleException>(name) { Golden(File(folder, name)) }
    }
}
