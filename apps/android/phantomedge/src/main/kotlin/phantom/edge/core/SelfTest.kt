package phantom.edge.core

import java.io.File
import kotlin.math.abs
import kotlin.math.sqrt

/** What one device makes of a bundle's recorded inputs, beside what they should give. */
class SelfTest internal constructor(val backend: String, val checks: List<Check>) {
    /** One stage: its error, the most that is right, and whether it is. */
    class Check(val name: String, val value: Double, val limit: Double, val detail: String) {
        val passed: Boolean
            get() = value <= limit
    }

    val passed: Boolean
        get() = checks.all { it.passed }

    override fun toString(): String {
        val rows = checks.map {
            val word = if (it.passed) "ok  " else "FAIL"
            "%s %s: %.2g (limit %.2g) %s".format(word, it.name, it.value, it.limit, it.detail)
        }
        return (listOf("self-test on $backend: ${if (passed) "passed" else "failed"}") + rows).joinToString("\n")
    }
}

/**
 * Runs `golden.safetensors`, which the export recorded: picture to tiles to image tokens, prefill, and cached decoding
 * along the recorded answer. Errors are the largest difference over the root mean square of what is expected.
 *
 * [limit] for image tokens and logits follows from the format unless given: 0.03 for Core ML, where every result is
 * rounded to float16, and 0.25 for ExecuTorch, whose activations are rounded to int8: there a value on the edge between
 * two steps may fall to either side, and the layers carry that on.
 */
fun PhantomSession.selfTest(limit: Double? = null): SelfTest {
    val golden = Golden(bundle)
    val most = limit ?: if (manifest.format == "coreml") 0.03 else 0.25
    val tiles = manifest.tiles.split(golden.image)
    val pixels = tiles.map { TilePolicy.planar(it) }.reduce { all, tile -> all + tile }
    val rows = encode(tiles) {}
    val cache = backend.makeCache()
    var logits = prefill(golden.ids, 0, cache, rows)
    val checks =
        mutableListOf(
            compare("pixels", pixels, golden.pixels, 1e-6),
            compare("image tokens", rows, golden.features, most),
            compare("prefill logits", logits, golden.logits, most),
        )
    var equal = 0
    var worst = 0.0
    golden.tokens.forEachIndexed { place, token ->
        if (place > 0) logits = prefill(listOf(golden.tokens[place - 1]), golden.ids.size + place - 1, cache)
        if (token !in logits.indices) throw BundleException("the golden file is damaged: export the bundle again")
        val gap = (logits.max() - logits[token]) / rms(logits)
        worst = maxOf(worst, gap)
        if (gap == 0.0) equal++
    }
    // Two logits may each be off by the limit, so that two that are nearly equal change places.
    checks += SelfTest.Check("answer", worst, 2 * most, "$equal of ${golden.tokens.size} tokens are the likeliest")
    return SelfTest(backend.name, checks)
}

private fun compare(name: String, values: FloatArray, expected: FloatArray, limit: Double): SelfTest.Check {
    if (values.size != expected.size) {
        val detail = "${values.size} values, expected ${expected.size}"
        return SelfTest.Check(name, Double.POSITIVE_INFINITY, limit, detail)
    }
    val largest = values.indices.maxOf { abs(values[it].toDouble() - expected[it]) }
    val value = if (values.all { it.isFinite() }) largest / rms(expected) else Double.POSITIVE_INFINITY
    return SelfTest.Check(name, value, limit, "over ${values.size} values")
}

private fun rms(values: FloatArray): Double =
    sqrt(values.sumOf { it.toDouble() * it } / values.size.coerceAtLeast(1)).coerceAtLeast(Double.MIN_VALUE)

/** The recorded inputs and outputs. */
internal class Golden(bundle: ModelBundle) {
    private val file = Safetensors.open(File(bundle.folder, ModelBundle.GOLDEN))
    val image: RgbImage
    val pixels = file.floats("pixel_values")
    val features = file.floats("image_features")
    val ids = file.longs("input_ids").map { it.toInt() }
    val logits = file.floats("prefill_logits")
    val tokens = file.longs("generated_ids").map { it.toInt() }

    init {
        val shape = file.shape("image")
        val known = 0 until bundle.manifest.vocabulary
        val fits = ids.isNotEmpty() && tokens.isNotEmpty() && ids.size + tokens.size <= bundle.manifest.context
        if (shape.size != 3 || shape[2] != 3 || !fits || (ids + tokens).any { it !in known }) {
            throw BundleException("the golden file is damaged: export the bundle again")
        }
        image = RgbImage(shape[1], shape[0], file.bytes("image"))
    }
}
