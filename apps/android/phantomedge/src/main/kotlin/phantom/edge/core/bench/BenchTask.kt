package phantom.edge.core.bench

import java.io.Closeable
import java.io.File
import java.util.Locale
import kotlin.math.round
import kotlin.math.sqrt
import phantom.edge.core.BackendException
import phantom.edge.core.BundleException
import phantom.edge.core.Golden
import phantom.edge.core.PhantomSession
import phantom.edge.core.Sampling
import phantom.edge.core.SplitMix64
import phantom.edge.core.TilePolicy

/**
 * What is timed on every device: one picture as a file, so that preprocessing includes decoding it, and the prompt
 * about it. Both are the bundle's own golden input. The file lies below `scratch` until this is closed.
 */
internal class BenchTask(
    private val session: PhantomSession,
    private val golden: Golden,
    scratch: File,
    private val platform: BenchPlatform,
) : Closeable {
    private val tiles = session.manifest.tiles
    private val picture = File(scratch, "phantom-bench-picture.png")
    val tileCount = tiles.count(golden.image.width, golden.image.height)
    val ids: List<Int> = golden.ids

    init {
        if (ids.count { it == session.manifest.imageId } != tileCount * session.manifest.tileTokens) {
            throw BundleException("the golden prompt is not about the golden picture: export the bundle again")
        }
        platform.write(golden.image, picture)
    }

    override fun close() {
        picture.delete()
    }

    /** Pixels `[3, S, S]` of every tile of the picture's file. */
    fun pixels(): List<FloatArray> = tiles.split(platform.picture(picture)).map(TilePolicy::planar)

    /** Image tokens `[tiles * N, hidden]` of tiles. */
    fun encode(pixels: List<FloatArray>): FloatArray = joined(pixels.map(session.backend::encode))

    /**
     * Runs the golden input and compares: relative errors of pixels, image tokens and logits, and how many tokens
     * agree.
     *
     * Throws [BackendException] when a difference is beyond [LIMIT]: what is fast but wrong is not timed. Rounding
     * activations to int8 costs a few hundredths; a wrong kernel, layout or weight gives about 1.
     */
    fun check(): Map<String, Any> {
        val size = 3 * tiles.size * tiles.size
        if (golden.pixels.size != tileCount * size) {
            throw BundleException("the golden pixels are not those of the picture: export the bundle again")
        }
        val expected = List(tileCount) { golden.pixels.copyOfRange(it * size, (it + 1) * size) }
        val rows = encode(expected)
        val cache = session.backend.makeCache()
        var logits = session.prefill(ids, 0, cache, rows)
        val errors =
            mapOf(
                "pixels" to difference(joined(pixels()), golden.pixels),
                "image tokens" to difference(rows, golden.features),
                "prefill logits" to difference(logits, golden.logits),
            )
        val greedy = Sampling.GREEDY.chooser()
        var same = 0
        golden.tokens.forEachIndexed { place, expected ->
            val token = greedy(logits)
            if (token == expected) same++
            if (place + 1 < golden.tokens.size) logits = session.prefill(listOf(token), ids.size + place, cache)
        }
        require(errors)
        return errors.mapValues { round(it.value * 1e6) / 1e6 } + ("tokens" to "$same of ${golden.tokens.size}")
    }

    private fun require(errors: Map<String, Double>) {
        val (name, value) = errors.entries.firstOrNull { !(it.value <= LIMIT) } ?: return
        throw BackendException(
            "the golden check failed: $name differ by ${"%.2g".format(Locale.ROOT, value)} of their size " +
                "(limit $LIMIT), so nothing was timed; run `phantom-edge verify` on the bundle",
        )
    }

    companion object {
        private const val LIMIT = 0.1
        private const val SEED = 0L

        /** [count] ids to fill a cache with: the first token, then random ones, none that ends or holds an image. */
        fun filler(session: PhantomSession, count: Int): List<Int> {
            val manifest = session.manifest
            val barred = manifest.endIds.toSet() + manifest.imageId
            if (barred.size >= manifest.vocabulary) {
                throw BundleException("the bundle has no text tokens: export it again")
            }
            val random = SplitMix64(SEED)
            val more = generateSequence { random.next().mod(manifest.vocabulary) }.filter { it !in barred }
            return (sequenceOf(manifest.firstId) + more).take(count).toList()
        }

        private fun joined(parts: List<FloatArray>): FloatArray {
            val all = FloatArray(parts.sumOf { it.size })
            parts.fold(0) { at, part -> at + part.size.also { part.copyInto(all, at) } }
            return all
        }

        /** Root mean square of the difference over that of [expected]. */
        private fun difference(values: FloatArray, expected: FloatArray): Double {
            if (values.size != expected.size || expected.isEmpty()) {
                throw BackendException(
                    "the golden check failed: ${values.size} values where ${expected.size} are expected; export again",
                )
            }
            var apart = 0.0
            var size = 0.0
            for (n in values.indices) {
                val gap = values[n].toDouble() - expected[n]
                apart += gap * gap
                size += expected[n].toDouble() * expected[n]
            }
            return sqrt(apart / expected.size) / sqrt(size / expected.size).coerceAtLeast(1e-12)
        }
    }
}
