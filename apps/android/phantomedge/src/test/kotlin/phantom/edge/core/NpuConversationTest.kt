package phantom.edge.core

import java.io.File
import kotlin.math.abs
import kotlin.test.BeforeTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/**
 * The real decoder in fixed shapes, fed with what Kotlin prepares (positions, mask, padding, the cache that it writes
 * itself), beside the uncut decoder's conversations.
 */
class NpuConversationTest {
    private lateinit var folder: File
    private lateinit var runtime: PipeRuntime
    private lateinit var bundle: ModelBundle
    private lateinit var cpuBundle: ModelBundle

    @BeforeTest
    fun open() {
        folder = File(Vectors.folder(), "npu")
        runtime = PipeRuntime.of(folder)
        bundle = ModelBundle(File(folder, "bundle"))
        cpuBundle = ModelBundle(File(Vectors.folder(), "bundle"), verify = false)
    }

    private fun backend(chip: String = "SM8650"): NpuBackend {
        val plan = NpuPlan.of(bundle.manifest, chip)
        val files = plan.graphs.mapValues { (_, path) -> File(bundle.folder, path) }
        return NpuBackend(plan, files, runtime, Embedder(PipeBackend.of(Vectors.folder(), bundle)), cpuBundle.manifest)
    }

    private fun session() = PhantomSession(bundle, backend(), pacing = Pacing.UNPACED)

    @Test
    fun conversationsAreThoseOfTheUncutDecoder() {
        val transcripts = Vectors("npu/transcripts")
        val session = session()
        var answers = 0
        (transcripts.json as List<*>).forEachIndexed { number, talk ->
            val chat = session.chat(if (talk["image"] == true) transcripts.image("image.$number") else null)
            for (expected in talk["answers"] as List<*>) {
                val options = AnswerOptions(expected["max_tokens"].int!!, expected.texts("stops"))
                val answer = chat.ask(expected.text("question"), options).joinToString("")
                assertEquals(expected.text("text"), answer)
                assertEquals(expected.ints("ids"), chat.ids)
                answers++
            }
        }
        assertTrue(answers > 5)
        assertEquals(setOf("vision_encoder", "prefill", "decode"), runtime.calls.toSet())
        assertTrue(session.backend.name.startsWith("NPU (pipe)"))
    }

    @Test
    fun theGoldenAnswersAreGiven() {
        val report = session().selfTest()
        assertTrue(report.passed, "$report")
        val tie = report.checks.single { it.name == "generated_ids.tie" }
        assertTrue(tie.value < 1e-3, "$report") // the same arithmetic, but for the order of sums
        assertTrue(report.checks.single { it.name == "prefill_logits.rms" }.value < 1e-4, "$report")
    }

    /** A cache that holds more than a position says is as good as one that ends there. */
    @Test
    fun anEarlierPositionForgetsWhatCameAfter() {
        val backend = backend()
        val cache = backend.makeCache()
        val ids = IntArray(70) { 3 + it % 7 }
        val embeddings = backend.embed(ids)
        val hidden = bundle.manifest.hidden
        fun rows(from: Int, to: Int) = embeddings.copyOfRange(from * hidden, to * hidden)
        backend.decode(rows(0, 64), 0, cache)
        val first = backend.decode(rows(64, 70), 64, cache)
        val alone = backend.decode(rows(0, 10), 0, cache)
        backend.decode(rows(20, 60), 10, cache)
        backend.decode(rows(0, 10), 0, cache)
        val again = backend.decode(rows(0, 10), 0, cache)
        assertEquals(alone.toList(), again.toList())
        // Piece by piece, by the other graph as well: only the order of sums differs.
        backend.decode(rows(0, 50), 0, cache)
        for (n in 50 until 69) backend.decode(rows(n, n + 1), n, cache)
        val slow = backend.decode(rows(69, 70), 69, cache)
        val size = first.maxOf { abs(it) }
        for (n in first.indices) assertEquals(first[n], slow[n], 1e-3f * size)
    }

    @Test
    fun callsThatTheGraphsDoNotTakeAreRefused() {
        val backend = backend()
        val cache = backend.makeCache()
        val hidden = bundle.manifest.hidden
        val row = FloatArray(hidden)
        assertFailsWith<InputException> { backend.decode(FloatArray(0), 0, cache) }
        assertFailsWith<InputException> { backend.decode(FloatArray((bundle.manifest.chunk + 1) * hidden), 0, cache) }
        assertFailsWith<InputException> { backend.decode(row, bundle.manifest.context, cache) }
        assertFailsWith<InputException> { backend.decode(row, -1, cache) }
        assertFailsWith<InputException> { backend.encode(FloatArray(3)) }
        backend.makeCache()
        assertFailsWith<BackendException> { backend.decode(row, 0, cache) }
    }

    @Test
    fun theVisionEncoderIsGivenBackAndLoadedAgain() {
        runtime.opened.clear()
        val backend = backend()
        backend.prepare()
        val names = { runtime.opened.map { it.substringAfterLast('/') }.toSet() }
        assertEquals(setOf("vision_encoder.onnx", "prefill.onnx", "decode.onnx"), names())
        backend.trim()
        assertEquals(setOf("prefill.onnx", "decode.onnx"), names())
        val side = bundle.manifest.tileSize
        backend.encode(FloatArray(3 * side * side))
        assertTrue("vision_encoder.onnx" in names())
        backend.close()
        assertEquals(emptyList(), runtime.opened.toList())
    }
}

/** The CPU's backend, of which the NPU may only ask for embeddings. */
class Embedder(private val served: Backend) : Backend {
    override val name = "embedder"

    override fun encode(tile: FloatArray) = error("the NPU encodes")

    override fun embed(ids: IntArray) = served.embed(ids)

    override fun makeCache() = error("the NPU has the cache")

    override fun decode(embeddings: FloatArray, position: Int, cache: DecoderCache) = error("the NPU decodes")

    override fun trim() = Unit

    override fun close() = Unit
}
