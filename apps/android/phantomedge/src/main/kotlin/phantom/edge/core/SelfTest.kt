package phantom.edge.core

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
 * Runs the golden file of [PhantomSession.tile]'s size, which the export recorded, and judges it by the file's own
 * limits: the picture to tiles, the recorded tiles to image tokens, the prompt with these, and the recorded answer token
 * by token, whatever the device would choose, so that one tie does not count against all that follows it.
 */
fun PhantomSession.selfTest(): SelfTest {
    val golden = Golden(bundle.golden(tile))
    return selfTest(golden, policy.split(golden.image).map(TilePolicy::planar))
}

/** With the tiles [pixels] that the device makes of the picture. */
internal fun PhantomSession.selfTest(golden: Golden, pixels: List<FloatArray>): SelfTest {
    val size = 3 * tile.size * tile.size
    if (golden.pixels.size % size != 0 || golden.ids.size + golden.tokens.size > manifest.context) {
        throw BundleException("${ModelBundle.GOLDEN} is not of this manifest: export the bundle again")
    }
    val recorded = (golden.pixels.indices step size).asSequence().map { golden.pixels.copyOfRange(it, it + size) }
    val rows = encode(recorded)
    val cache = backend.makeCache()
    val logits = ArrayList<FloatArray>()
    logits += prefill(golden.ids, 0, cache, rows)
    for ((place, token) in golden.tokens.dropLast(1).withIndex()) {
        logits += prefill(listOf(token), golden.ids.size + place, cache)
    }
    return SelfTest(backend.name, golden.judge(Golden.Computed(pixels.joined(), rows, logits)))
}

internal fun List<FloatArray>.joined(): FloatArray {
    val all = FloatArray(sumOf { it.size })
    fold(0) { at, part -> at + part.size.also { part.copyInto(all, at) } }
    return all
}
