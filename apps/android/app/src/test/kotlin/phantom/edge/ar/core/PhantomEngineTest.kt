package phantom.edge.ar.core

import java.io.File
import java.util.concurrent.Executors
import kotlin.math.roundToInt
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.async
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import org.junit.Assume.assumeTrue
import phantom.edge.core.Answering
import phantom.edge.core.Backend
import phantom.edge.core.DecoderCache
import phantom.edge.core.Form
import phantom.edge.core.InputException
import phantom.edge.core.ModelBundle
import phantom.edge.core.PhantomSession
import phantom.edge.core.Processor
import phantom.edge.core.RgbImage
import phantom.edge.core.StopReason

/** The engine on a real bundle's manifest and tokenizer; the graphs are replaced by one that spells what it is told. */
class PhantomEngineTest {
    private val worker = Executors.newSingleThreadExecutor { Thread(it).apply { isDaemon = true } }.asCoroutineDispatcher()
    private val picture = RgbImage(64, 64, ByteArray(64 * 64 * 3))

    private fun graphs(pause: Long = 0): Spelling {
        val path = System.getenv("PHANTOM_EDGE_BUNDLE").orEmpty()
        assumeTrue("PHANTOM_EDGE_BUNDLE names no bundle: run the Python tests", path.isNotEmpty())
        return Spelling(ModelBundle(File(path)), pause)
    }

    private fun engine(graphs: Spelling): PhantomEngine {
        val processor = Processor(false, "the app has no part for an NPU")
        return PhantomEngine(Answering(PhantomSession(graphs.bundle, graphs), processor, 12_000_000), worker, 1.0)
    }

    @Test
    fun theInformationSaysWhichProcessorAnswersAndWhy() {
        val facts = engine(graphs()).facts.map { "${it.name}: ${it.value}" }
        assertTrue("CPU: the app has no part for an NPU" in facts, "$facts")
        assertTrue("Model: web, 12 MB" in facts, "$facts")
    }

    @Test
    fun oneLookServesSeveralQuestionsOnOnePicture() = runBlocking {
        val graphs = graphs()
        val engine = engine(graphs)
        val frame = Frame(picture)
        val pieces = ArrayList<String>()
        val first = engine.ask(frame, "What is it?", null, 32) { text, _ -> pieces += text }
        assertEquals(TEXT, first.text)
        assertEquals(StopReason.END, first.stop)
        assertEquals(TEXT, pieces.last())
        assertTrue(pieces.zipWithNext().all { (a, b) -> b.startsWith(a) })
        assertTrue(first.speed.firstToken > 0 && first.speed.rate > 0)
        val again = engine.ask(frame, "How many?", null, 2) { _, _ -> }
        assertEquals(StopReason.LENGTH, again.stop)
        assertTrue(Verdict.of(again, 0.5).text.endsWith(" …"))
        assertEquals(1, graphs.looks, "one tile, one look")
        engine.ask(Frame(picture), "How many?", null, 2) { _, _ -> }
        assertEquals(2, graphs.looks)
    }

    @Test
    fun choicesAreRankedAndARegularExpressionIsKeptTo() = runBlocking {
        val graphs = graphs()
        val engine = engine(graphs)
        val frame = Frame(picture)
        val answer = engine.ask(frame, "What is it?", Form.choices(listOf("a blue cube", TEXT)), 32) { _, _ -> error("streamed") }
        assertEquals(TEXT, answer.text)
        assertEquals(TEXT, answer.likelihoods.first().text)
        assertEquals(1.0, answer.likelihoods.sumOf { it.probability }, 1e-9)
        val spelled = engine.ask(frame, "Which is it?", Form.regex("a (red|blue)"), 32) { _, _ -> }
        assertEquals("a red", spelled.text)
        assertEquals(StopReason.END, spelled.stop)
        assertEquals(1, graphs.looks, "one look")
        assertFailsWith<InputException> { engine.ask(frame, "Which?", Form.choices(listOf("x".repeat(200))), 8) { _, _ -> } }
        Unit
    }

    /** From the tap to the values that the vision encoder is given. */
    @Test
    fun aTapChangesWhatTheModelSees() = runBlocking {
        val graphs = graphs()
        val engine = engine(graphs)
        val framing = Framing(Size(400.0, 500.0), Size(120.0, 90.0), Framing.Fit.CONTAIN)
        suspend fun seen(tap: Point, reach: Reach = Reach.of()): List<Int> {
            val part = framing.part(framing.toPicture(framing.toStage(tap)), reach)
            val image = SCENE.cropped(part.x, part.y, part.width, part.height)
            engine.ask(Frame(image), "What colour is it?", null, 2) { _, _ -> }
            return graphs.means
        }
        val (red, blue) = Point(30.0, 40.0) to Point(95.0, 60.0)
        assertEquals(listOf(200, 30, 30), seen(red), "the red square alone")
        assertEquals(listOf(30, 60, 200), seen(blue), "the blue square alone")
        val wholes = listOf(red, blue).map { seen(it, Reach.of(isWhole = true)) }
        assertTrue(wholes.all { it[0] > 100 && it[2] > 100 }, "$wholes")
        assertTrue(wholes[0][0] > wholes[1][0], "the largest square, nearer to the red one than to the blue one")
    }

    @Test
    fun anotherSizeLooksAgainAtThePicture() = runBlocking {
        val graphs = graphs()
        val engine = engine(graphs)
        val frame = Frame(picture)
        val (size, small) = engine.tileSizes
        assertTrue(engine.facts.none { it.name == "Sees" }, "the choice says it")
        engine.ask(frame, "What is it?", null, 2) { _, _ -> }
        engine.useTiles(small)
        engine.ask(frame, "What is it?", null, 2) { _, _ -> }
        engine.useTiles(small)
        assertEquals(TEXT, engine.ask(frame, "How many?", null, 32) { _, _ -> }.text)
        assertEquals(listOf(3 * size * size, 3 * small * small), graphs.tiles)
        assertFailsWith<InputException> { engine.useTiles(100) }
        Unit
    }

    @Test
    fun aCancelledAnswerIsNone() = runBlocking {
        val graphs = graphs(pause = 20)
        val engine = engine(graphs)
        val frame = Frame(picture)
        val job = async(Dispatchers.Default) { engine.ask(frame, "What is it?", null, 32) { _, _ -> } }
        delay(50)
        job.cancel()
        try {
            job.await()
            error("it was answered")
        } catch (cancelled: CancellationException) {
            assertEquals(TEXT, engine.ask(frame, "What is it?", null, 32) { _, _ -> }.text)
        }
    }

    private companion object {
        const val TEXT = "a red cube"

        /** 120 by 90 pixels, light, with a red and a blue square of 40. */
        val SCENE =
            RgbImage(120, 90, ByteArray(120 * 90 * 3) { place ->
                val (x, y) = place / 3 % 120 to place / 360
                val colour =
                    when {
                        x in 10 until 50 && y in 20 until 60 -> listOf(200, 30, 30)
                        x in 75 until 115 && y in 40 until 80 -> listOf(30, 60, 200)
                        else -> listOf(220, 220, 220)
                    }
                colour[place % 3].toByte()
            })
    }

    /** Graphs that say one sentence, whatever they see. */
    private class Spelling(val bundle: ModelBundle, private val pause: Long) : Backend {
        private class Cache : DecoderCache

        override val name = "spelling"
        private val manifest = bundle.manifest
        private val script = bundle.tokenizer().encode(TEXT) + manifest.endIds.first()
        private var isPrompt = false
        private var start = 0

        /** Values of each tile that was looked at. */
        val tiles = ArrayList<Int>()

        /** Of red, green and blue in the newest tile, 0 to 255. */
        var means = emptyList<Int>()
        val looks
            get() = tiles.size

        override fun encode(tile: FloatArray): FloatArray {
            tiles += tile.size
            means = tile.asList().chunked(tile.size / 3) { (255 * it.average()).roundToInt() }
            return FloatArray(manifest.tileSizes.first { 3 * it.size * it.size == tile.size }.tokens * manifest.hidden)
        }

        override fun embed(ids: IntArray): FloatArray {
            isPrompt = ids.size > 1
            return FloatArray(ids.size * manifest.hidden)
        }

        override fun makeCache(): DecoderCache = Cache()

        override fun decode(embeddings: FloatArray, position: Int, cache: DecoderCache): FloatArray {
            Thread.sleep(pause)
            val end = position + embeddings.size / manifest.hidden
            if (isPrompt) start = end
            return FloatArray(manifest.vocabulary).also { it[script[(end - start).coerceIn(0, script.size - 1)]] = 1f }
        }

        override fun trim() = Unit

        override fun close() = Unit
    }
}
