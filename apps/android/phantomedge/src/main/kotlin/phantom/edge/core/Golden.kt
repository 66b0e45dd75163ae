package phantom.edge.core

import java.io.File
import kotlin.math.abs
import kotlin.math.sqrt

/**
 * `golden.safetensors`: one picture, a prompt about it, what each stage must give for them, and how far off it may be.
 *
 * The rule is that of the Python package (`phantom_edge/bundle/golden.py`, `docs/bundle.md`): a bundle passes or fails
 * by the same numbers wherever it runs. Throws [BundleException] for a file that is damaged or has other contents.
 */
internal class Golden(file: File) {
    /** The most that a stage may be off, over the root mean square of what is expected; null is not judged. */
    private class StageLimits(val rms: Double?, val max: Double?)

    private val limits = HashMap<String, StageLimits>()
    private val tieLimit: Double
    val image: RgbImage
    val pixels: FloatArray
    val features: FloatArray
    val ids: List<Int>
    val logits: FloatArray
    val tokens: List<Int>

    init {
        val tensors = Safetensors.open(file)
        for ((name, dimensions) in DIMENSIONS) {
            if (tensors.shape(name).size != dimensions) damaged("$name has another shape")
        }
        (tensors.names - DIMENSIONS.keys).firstOrNull()?.let { damaged("it has an unknown tensor $it") }
        val size = tensors.shape("image")
        if (size[2] != 3) damaged("image has another shape")
        image = RgbImage(size[1], size[0], tensors.bytes("image"))
        pixels = tensors.floats("pixel_values")
        features = tensors.floats("image_features")
        ids = tensors.longs("input_ids").map { it.toInt() }
        logits = tensors.floats("prefill_logits")
        tokens = tensors.longs("generated_ids").map { it.toInt() }
        if (ids.isEmpty() || tokens.isEmpty()) damaged("it has no ids")
        if ((ids + tokens).any { it !in logits.indices }) damaged("it has ids beyond the vocabulary")
        val json = tensors.metadata["limits"]?.let { JsonReader.read(it.toByteArray()) } ?: damaged("it has no limits")
        if ((json as? Map<*, *>)?.keys != STAGES.toSet() + "tie") damaged("it has other limits")
        for (stage in STAGES) {
            if ((json[stage] as? Map<*, *>)?.keys != setOf("rms", "max")) damaged("it has other limits of $stage")
            limits[stage] = StageLimits(limit(json[stage]["rms"]), limit(json[stage]["max"]))
        }
        tieLimit = limit(json["tie"]) ?: damaged("it has no limit for ties")
    }

    private fun limit(value: Any?): Double? =
        if (value == null) null else value as? Double ?: damaged("a limit is no number")

    /** What a runtime makes of the golden inputs. */
    class Computed(
        /** Its own tiles of [image]. */
        val pixels: FloatArray,
        /** Its image tokens of the recorded pixels. */
        val features: FloatArray,
        /** After the prefill with its own image tokens, then after each recorded token but the last. */
        val logits: List<FloatArray>,
    )

    /** Every limit against what was computed. */
    fun judge(computed: Computed): List<SelfTest.Check> =
        stage("pixel_values", computed.pixels, pixels) + stage("image_features", computed.features, features) +
            stage("prefill_logits", computed.logits.firstOrNull() ?: FloatArray(0), logits) + tie(computed.logits)

    private fun stage(name: String, values: FloatArray, expected: FloatArray): List<SelfTest.Check> {
        val (rms, max) = errors(values, expected)
        val stage = limits.getValue(name)
        return listOf(Triple("rms", rms, stage.rms), Triple("max", max, stage.max)).mapNotNull { (kind, error, limit) ->
            limit?.let { SelfTest.Check("$name.$kind", error, it, "over ${expected.size} values") }
        }
    }

    /** How far a recorded token is from being the likeliest, at worst. */
    private fun tie(rows: List<FloatArray>): SelfTest.Check {
        var (worst, equal) = 0.0 to 0
        if (rows.size != tokens.size || rows.any { row -> row.size != logits.size || row.any { !it.isFinite() } }) {
            worst = Double.POSITIVE_INFINITY
        } else {
            val reference = rms(logits)
            for ((row, token) in rows.zip(tokens)) {
                val gap = row.max().toDouble() - row[token]
                worst = maxOf(worst, gap / minOf(rms(row), reference).coerceAtLeast(SMALLEST))
                if (gap == 0.0) equal++
            }
        }
        return SelfTest.Check("generated_ids.tie", worst, tieLimit, "$equal of ${tokens.size} tokens are the likeliest")
    }

    companion object {
        private const val SMALLEST = 1e-12
        private val STAGES = listOf("pixel_values", "image_features", "prefill_logits")
        private val DIMENSIONS =
            mapOf(
                "image" to 3, "pixel_values" to 4, "image_features" to 3, "input_ids" to 2, "prefill_logits" to 2,
                "generated_ids" to 1,
            )

        private fun damaged(what: String): Nothing =
            throw BundleException("${ModelBundle.GOLDEN}: $what: export the bundle again")

        /**
         * Root mean square and largest difference over the root mean square of [expected]; infinite for another number
         * of values, and for one that is not finite.
         */
        private fun errors(values: FloatArray, expected: FloatArray): Pair<Double, Double> {
            if (values.size != expected.size || values.any { !it.isFinite() }) {
                return Double.POSITIVE_INFINITY to Double.POSITIVE_INFINITY
            }
            val gaps = DoubleArray(values.size) { values[it].toDouble() - expected[it] }
            val size = rms(expected).coerceAtLeast(SMALLEST)
            return sqrt(gaps.sumOf { it * it } / gaps.size) / size to gaps.maxOf { abs(it) } / size
        }

        private fun rms(values: FloatArray): Double = sqrt(values.sumOf { it.toDouble() * it } / values.size)
    }
}
