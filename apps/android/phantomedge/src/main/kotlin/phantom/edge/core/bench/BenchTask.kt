package phantom.edge.core.bench

import java.io.Closeable
import java.io.File
import java.util.Locale
import kotlin.math.round
import phantom.edge.core.BackendException
import phantom.edge.core.BundleException
import phantom.edge.core.Golden
import phantom.edge.core.PhantomSession
import phantom.edge.core.SplitMix64
import phantom.edge.core.TilePolicy
import phantom.edge.core.joined
import phantom.edge.core.selfTest

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
    private val tiles = session.policy
    private val picture = File(scratch, "phantom-bench-picture.png")
    val tileCount = tiles.count(golden.image.width, golden.image.height)
    val ids: List<Int> = golden.ids

    init {
        if (ids.count { it == session.manifest.imageId } != tileCount * session.tile.tokens) {
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
    fun encode(pixels: List<FloatArray>): FloatArray = pixels.map(session.backend::encode).joined()

    /**
     * Runs the bundle's own test on the picture's file: errors of image tokens and logits, and how many tokens are the
     * likeliest.
     *
     * Throws [BackendException] when one is beyond its limit: what is fast but wrong is not timed.
     */
    fun check(): Map<String, Any> {
        val checks = session.selfTest(golden, pixels()).checks.associateBy { it.name }
        checks.values.firstOrNull { !it.passed }?.let {
            throw BackendException(
                "the golden check failed: ${it.name} is ${"%.2g".format(Locale.ROOT, it.value)} (limit ${it.limit}), " +
                    "so nothing was timed; run `phantom-edge verify` on the bundle",
            )
        }
        fun error(name: String) = round(checks.getValue(name).value * 1e6) / 1e6
        return mapOf(
            "image tokens" to error("image_features.rms"),
            "prefill logits" to error("prefill_logits.rms"),
            "tokens" to checks.getValue("generated_ids.tie").detail.substringBefore(" tokens"),
        )
    }

    companion object {
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
    }
}
