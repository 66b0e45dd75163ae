package phantom.edge.core

import java.io.File
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** Answers of a form, beside the shared patterns of all languages and the Python package's long way. */
class FormTest {
    private val vectors = JsonReader.read(File(Vectors.folder(), "forms.json").readBytes())

    /** Code points of a text that is no beginning of a match lead to no state. */
    private fun FormAutomaton.read(text: String): FormAutomaton.State? =
        text.codes().fold(start as FormAutomaton.State?) { state, code -> state?.let { step(it, code) } }

    @Test
    fun everyPatternTakesTheTextsThatTheSharedVectorsSay() {
        val cases = vectors["shared"]["cases"] as List<*>
        for (case in cases) {
            val pattern = FormAutomaton(case.text("pattern"))
            for (text in case.texts("matches")) {
                assertTrue(pattern.read(text)?.accepts == true, "${case.text("pattern")} takes $text")
            }
            for (text in case.texts("open")) {
                assertTrue(pattern.read(text)?.accepts == false, "${case.text("pattern")} begins $text")
            }
            for (text in case.texts("dead")) assertNull(pattern.read(text), "${case.text("pattern")} refuses $text")
        }
        assertTrue(cases.size > 100)
    }

    @Test
    fun everythingElseIsRefusedInOneLine() {
        val refused = vectors["shared"]["refused"] as List<*>
        for (case in refused) {
            val error = assertFailsWith<InputException>(case.text("pattern")) { Form.regex(case.text("pattern")) }
            assertTrue(error.message!!.length <= 300 && '\n' !in error.message!!, error.message)
        }
        assertTrue(refused.size > 100)
        val wrong = listOf(emptyList(), listOf(""), listOf("a", "a"), listOf("x".repeat(201)), List(1001) { "$it" })
        for (choices in wrong) assertFailsWith<InputException> { Form.choices(choices) }
        assertEquals(Form.choices(listOf("a")), Form.choices(listOf("a")))
    }

    @Test
    fun tokensThatMayFollowEndWithinACharacterToo() {
        val tokens = vectors["shared"]["tokens"]
        val pieces = tokens.texts("pieces").map { hex -> hex.chunked(2).map { it.toInt(16).toByte() }.toByteArray() }
        for (case in tokens["cases"] as List<*>) {
            val masks = TokenMasks(case.text("pattern"), TokenBytes(pieces))
            val place = case.ints("after").fold(masks.start) { place, token -> masks.advance(place, token)!! }
            val mask = masks.mask(place)
            val allowed = pieces.indices.filter { mask[it shr 6] ushr (it and 63) and 1L == 1L }
            assertEquals(case.ints("allowed"), allowed, case.text("pattern"))
            assertEquals(case["end"], masks.accepts(place))
            val alone = pieces.indices.filter { masks.advance(place, it) != null }
            assertEquals(alone, allowed, "a walk over all tokens is each by itself")
            assertTrue(!masks.isComplete(place) || case["end"] == true && allowed.isEmpty())
            for (seed in 0..20) {
                val logits = FloatArray(pieces.size + 1) { ((it * 7 + seed * 13) % 41).toFloat() } // the last is the end
                val constraint = { PatternConstraint(masks, listOf(pieces.size), place) }
                val best = { isGreedy: Boolean -> constraint().limit(logits, isGreedy).run { indices.maxBy { this[it] } } }
                if (allowed.isNotEmpty() || masks.accepts(place)) assertEquals(best(false), best(true), "the quick way is the long one")
            }
        }
    }

    @Test
    fun spacesThatTheDecoderDropsAreNoPartOfTheAnswer() {
        val pieces = listOf(" yes", "yes", "  yes", " ").map { it.toByteArray() }
        fun allowed(dropped: Int): Long = TokenMasks("yes", TokenBytes(pieces), dropped).run { mask(start)[0] }
        assertEquals(0b0010, allowed(0))
        assertEquals(0b1011, allowed(1))
        assertEquals(0b1011, allowed(Int.MAX_VALUE), "no more than one without need")
        val spaced = TokenMasks(" yes", TokenBytes(pieces), 1)
        assertEquals(0b1100, spaced.mask(spaced.start)[0])
    }

    @Test
    fun masksOfAnAnswerCostTimeInProportionToItsLength() {
        val masks = TokenMasks("(a+)+b", TokenBytes(listOf("a", "aa", "b", "c").map { it.toByteArray() }))
        val end = (1..10_000).fold(masks.start) { place, _ -> masks.advance(place, 1)!! }
        assertContentEquals(longArrayOf(0b0111), masks.mask(end))
    }

    @Test
    fun answersOfAFormAreTheLikeliestThatFit() {
        val session = session()
        for (case in vectors["cases"] as List<*>) {
            val texts = case.texts("texts")
            val form = (case["pattern"] as? String)?.let(Form::regex) ?: Form.choices(texts)
            val chat = session.chat(picture.takeIf { case["image"] == true })
            val answer = chat.ask(case.text("question"), AnswerOptions(form = form)).joinToString("")
            assertEquals(case.text("answer"), answer)
            assertEquals(StopReason.END, chat.timing.stop)
            val before = chat.timing.promptTokens
            val said = chat.ids.drop(before)
            assertEquals(case.ints("ids").take(said.size), said)
            assertEquals(case.ints("ids").size, chat.timing.newTokens)
            val confidence = (case["confidence"] as Number?)?.toDouble()
            assertEquals(confidence == null, chat.timing.confidence == null)
            if (confidence != null) assertEquals(confidence, chat.timing.confidence!!, 1e-9 + 1e-3 * confidence)
            chat.ask("Why?", AnswerOptions(maxTokens = 1)).count()
            assertEquals(case.ints("ids"), chat.ids.drop(before).take(case.ints("ids").size), "the next question follows")
            val sampled = AnswerOptions(sampling = Sampling(2.0, seed = 5), form = form)
            assertTrue(session.generate(case.text("question"), options = sampled).joinToString("") in texts)
        }
    }

    @Test
    fun theLikelihoodOfChoicesIsThatOfEachByItself() {
        val session = session()
        for (case in (vectors["cases"] as List<*>).filter { it["pattern"] == null }) {
            val texts = case.texts("texts")
            val chat = session.chat(picture.takeIf { case["image"] == true })
            val ranked = chat.rank(case.text("question"), texts)
            val expected = texts.zip((case["probabilities"] as List<*>).map { it as Double }).sortedByDescending { it.second }
            assertEquals(expected.map { it.first }, ranked.map { it.text })
            for ((one, other) in ranked.zip(expected)) assertEquals(other.second, one.probability, 1e-6)
            assertEquals(1.0, ranked.sumOf { it.probability }, 1e-9)
        }
    }

    @Test
    fun aRankingLeavesTheConversationAsItWas() {
        val session = session()
        val options = AnswerOptions(maxTokens = 4)
        val (plain, ranked) = List(2) { session.chat(picture) }
        for (question in listOf("Is it red?", "How many?")) {
            plain.ask(question, options).count()
            val before = ranked.rank(question, listOf("one", "two"))
            assertAlike(before, ranked.rank(question, listOf("one", "two")))
            ranked.ask(question, options).count()
        }
        assertEquals(plain.ids, ranked.ids)
        val chat = session.chat(picture)
        for (allowed in 0..4) {
            var left = allowed
            assertFailsWith<InterruptedException> {
                chat.rank("Is it red?", listOf("yes", "no", "not sure")) { if (left-- == 0) throw InterruptedException() }
            }
        }
        assertAlike(session.chat(picture).rank("Is it red?", listOf("yes", "no")), chat.rank("Is it red?", listOf("yes", "no")))
    }

    private fun assertAlike(some: List<Likelihood>, others: List<Likelihood>) {
        assertEquals(some.map { it.text }, others.map { it.text })
        for ((one, other) in some.zip(others)) assertEquals(one.probability, other.probability, 1e-6)
    }

    @Test
    fun whatCannotBeAnsweredIsRefusedBeforeAnyWork() {
        val session = session()
        val backend = session.backend as PipeBackend
        backend.calls.clear()
        val chat = session.chat(picture)
        assertFailsWith<InputException> { chat.rank("Is it red?", listOf("yes", "yes")) }
        val control = session.tokenizer.controlTokens.values.first()
        val error = assertFailsWith<InputException> { chat.rank("Is it red?", listOf("yes", "a $control")) }
        assertTrue("the choice holds $control" in error.message!!, error.message)
        assertFailsWith<InputException> { chat.ask("Is it red?", AnswerOptions(form = Form.choices(listOf("yes", control)))) }
        assertFailsWith<InputException> { chat.rank("many words ".repeat(100), listOf("yes")) }
        assertFailsWith<InputException> { chat.rank("Is it red?", listOf("0123456789".repeat(20))) }
        assertEquals(emptyList(), backend.calls)
    }

    private fun session(): PhantomSession {
        val folder = Vectors.folder()
        val bundle = ModelBundle(File(folder, "bundle"), verify = false)
        return PhantomSession(bundle, PipeBackend.of(folder, bundle), pacing = Pacing.UNPACED)
    }

    private val picture: RgbImage
        get() = Vectors("transcripts").image("image.1")
}
