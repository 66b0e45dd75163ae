package phantom.edge.core

import java.io.File
import kotlin.math.abs
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

/** Conversations over an exported bundle's own graphs, beside those of the Python package's session. */
class ConversationTest {
    private fun open(
        conditions: DeviceConditions = DeviceConditions.Unlimited,
        pacing: Pacing = Pacing.UNPACED,
    ): PhantomSession {
        val folder = Vectors.folder()
        val bundle = bundle ?: ModelBundle(File(folder, "bundle")).also { bundle = it }
        backend = PipeBackend.of(folder, bundle)
        return PhantomSession(bundle, backend!!, conditions, pacing)
    }

    private fun Chat.text(question: String, maxTokens: Int = 256, stops: List<String> = emptyList()): String {
        val pieces = ask(question, AnswerOptions(maxTokens, stops)).toList()
        assertFalse("" in pieces)
        return pieces.joinToString("")
    }

    private val picture: RgbImage
        get() = Vectors("transcripts").image("image.1")

    @Test
    fun conversationsAreThePythonPackagesOwn() {
        val vectors = Vectors("transcripts")
        val whole = open()
        val sizes = HashSet<Int>()
        (vectors.json as List<*>).forEachIndexed { number, talk ->
            val session = whole.atTileSize(talk["tile_size"].int!!)
            sizes += session.tile.size
            val chat = session.chat(if (talk["image"] == true) vectors.image("image.$number") else null)
            for (expected in talk["answers"] as List<*>) {
                val answer = chat.text(expected.text("question"), expected["max_tokens"].int!!, expected.texts("stops"))
                assertEquals(expected.text("text"), answer)
                assertEquals(expected.ints("ids"), chat.ids)
                assertEquals(expected["new_tokens"].int, chat.timing.newTokens)
                assertEquals(expected.text("stop"), chat.timing.stop?.name?.lowercase())
            }
        }
        assertEquals(whole.manifest.tileSizes.map { it.size }.toSet(), sizes)
        assertEquals(2, sizes.size)
    }

    @Test
    fun aPictureTakesTheImageTokensOfTheChosenSize() {
        val session = open()
        val small = session.manifest.tileSizes[1]
        val chosen = session.atTileSize(small.size)
        assertEquals(small, chosen.tile)
        assertEquals(session.manifest.tileSize, session.tile.size)
        for ((one, tokens) in listOf(session to session.manifest.tileTokens, chosen to small.tokens)) {
            backend!!.calls.clear()
            val chat = one.chat(picture, maxTiles = 1)
            chat.text("Is it red?", 1)
            assertEquals(tokens, chat.ids.count { it == session.manifest.imageId })
            assertEquals(1, backend!!.calls.count { it == "v" })
        }
        val report = chosen.selfTest()
        assertTrue(report.passed, "$report")
    }

    @Test
    fun aSizeThatTheBundleLacksIsRefusedByName() {
        val session = open()
        val sizes = session.manifest.tileSizes.joinToString { "${it.size}" }
        val refusal = "the bundle has no tiles of 100 pixels: choose one of its sizes, $sizes"
        assertEquals(refusal, assertFailsWith<InputException> { session.atTileSize(100) }.message)
        val made = { size: Int -> PhantomSession(session.bundle, session.backend, tileSize = size) }
        assertEquals(refusal, assertFailsWith<InputException> { made(100) }.message)
        val small = session.manifest.tileSizes[1]
        assertEquals(small, made(small.size).tile)
        assertEquals(small, session.manifest.tileOf(3 * small.size * small.size))
        assertFailsWith<InputException> { session.manifest.tileOf(3 * 100 * 100) }
    }

    @Test
    fun aSecondQuestionComputesItselfOnly() {
        val chat = open().chat(picture)
        chat.text("Is it red?", 2)
        val before = chat.ids.size
        backend!!.calls.clear()
        chat.text("How many?", 1)
        val added = chat.ids.size - before
        assertEquals(listOf("e$added", "d$before+$added"), backend!!.calls)
    }

    @Test
    fun afterARewindThePictureIsNotComputedAgain() {
        val session = open()
        val chat = session.chat(picture)
        chat.text("Is it red?", 3)
        chat.rewind()
        backend!!.calls.clear()
        val second = chat.text("How many?", 5)
        assertFalse("v" in backend!!.calls)
        assertTrue(chat.timing.reusedTokens > session.manifest.tileTokens)
        val fresh = session.chat(picture)
        assertEquals(fresh.text("How many?", 5), second)
        assertEquals(fresh.ids, chat.ids)
    }

    @Test
    fun takingFewerPiecesEndsTheAnswerAndTheNextQuestionFollows() {
        val chat = open().chat()
        assertEquals(2, chat.ask("What is 2+2?", AnswerOptions(150)).take(2).toList().size)
        assertTrue(chat.text("And 3+3?", 3).isNotEmpty())
        assertEquals(3, chat.timing.newTokens)
        assertTrue(chat.ids.size < 150)
    }

    @Test
    fun aCancelledPrefillIsTakenBack() {
        val session = open()
        val chat = session.chat(picture)
        val alone = session.chat(picture).run { listOf(text("Is it red?", 2), text("How many?", 2)) }
        // Cancelled at each call in turn: at a tile, at each chunk, while decoding.
        for (allowed in 0..7) {
            var left = allowed
            val task = chat.ask("Is it red?", AnswerOptions(2)) { if (left-- == 0) throw InterruptedException() }
            assertFailsWith<InterruptedException>("$allowed") { task.toList() }
            chat.rewind()
        }
        assertEquals(alone[0], chat.text("Is it red?", 2))
        assertFailsWith<InterruptedException> { chat.ask("How many?") { throw InterruptedException() }.toList() }
        assertEquals(alone[1], chat.text("How many?", 2))
    }

    @Test
    fun anEarlierAnswerEndsWithTheNextQuestion() {
        val chat = open().chat()
        val earlier = chat.ask("What is 2+2?").iterator()
        earlier.next()
        chat.text("And 3+3?", 2)
        assertFailsWith<InputException> { earlier.next() }
    }

    @Test
    fun questionsThatDoNotFitAreRefusedBeforeAnyWork() {
        val chat = open().chat(picture)
        backend!!.calls.clear()
        assertFailsWith<InputException> { chat.ask("many words ".repeat(100)) }
        assertFailsWith<InputException> { chat.ask("<img>") }
        assertFailsWith<InputException> { chat.ask("a", AnswerOptions(maxTokens = 0)) }
        assertFailsWith<InputException> { chat.ask("a", AnswerOptions(stops = listOf(""))) }
        assertEquals(emptyList(), backend!!.calls)
    }

    @Test
    fun fewerTilesLookLessClosely() {
        val session = open()
        backend!!.calls.clear()
        session.chat(picture, maxTiles = 1).text("Is it red?", 1)
        assertEquals(1, backend!!.calls.count { it == "v" })
    }

    @Test
    fun aWarmDeviceStopsTheAnswerAndKeepsWhatWasSaid() {
        val warming =
            object : DeviceConditions {
                var left = 3
                override val availableMemory: Long? = null
                override val thermal
                    get() = ThermalLevel.entries[(-(--left)).coerceIn(0, 3)]
            }
        val chat = open(warming, Pacing(mapOf(ThermalLevel.FAIR to 1L), ThermalLevel.CRITICAL)).chat()
        assertTrue(chat.text("What is 2+2?", 50).isNotEmpty())
        assertEquals(StopReason.THERMAL, chat.timing.stop)
        assertFailsWith<BackendException> { chat.text("And?") }
    }

    @Test
    fun memoryIsAskedForBeforeLoading() {
        val session = open()
        val needed = PhantomSession.memoryNeeded(session.bundle)
        assertTrue(needed > session.manifest.cacheElements)
        PhantomSession.checkMemory(session.bundle, room(needed))
        assertFailsWith<MemoryException> { PhantomSession.checkMemory(session.bundle, room(needed - 1)) }
    }

    private fun room(bytes: Long) =
        object : DeviceConditions {
            override val thermal = ThermalLevel.NOMINAL
            override val availableMemory = bytes
        }

    @Test
    fun theSelfTestPassesAndFindsAFault() {
        val session = open()
        val report = session.selfTest()
        assertTrue(report.passed, "$report")
        val wrong = PhantomSession(session.bundle, Turned(session.backend), pacing = Pacing.UNPACED)
        val failed = wrong.selfTest().checks.filter { !it.passed }
        assertTrue(failed.any { it.name == "image_features.rms" && abs(it.value - 2) < 0.05 }, failed.joinToString { it.name })
    }

    companion object {
        private var backend: PipeBackend? = null
        private var bundle: ModelBundle? = null
    }
}

/** Image tokens of the other sign. */
class Turned(private val right: Backend) : Backend by right {
    override fun encode(tile: FloatArray) = right.encode(tile).also { for (n in it.indices) it[n] = -it[n] }
}
