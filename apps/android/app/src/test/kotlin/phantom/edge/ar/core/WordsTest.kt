package phantom.edge.ar.core

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import phantom.edge.core.BackendException
import phantom.edge.core.Form
import phantom.edge.core.InputException
import phantom.edge.core.Likelihood
import phantom.edge.core.MemoryException
import phantom.edge.core.RgbImage
import phantom.edge.core.StopReason

class WordsTest {
    @Test
    fun numbers() {
        assertEquals("0.50 s", Numbers.seconds(0.5))
        assertEquals("12 s", Numbers.seconds(12.4))
        assertEquals("9.4 MB", Numbers.megabytes(9_400_000))
        assertEquals("124 MB", Numbers.megabytes(123_600_000))
        assertEquals("9.9 tok/s", Numbers.perSecond(9.9))
        assertEquals("42 tok/s", Numbers.perSecond(41.6))
    }

    @Test
    fun aLabelDoesNotFlickerWhileAnAnswerRepeats() {
        val frames = List(3) { Frame(RgbImage(1, 1, ByteArray(3))) }
        var label = LabelText().begin("What?", frames[0]).stream("A").stream("A dog").finish(Verdict("A dog", "80 % sure"))
        label = label.begin("What?", frames[1]).stream("A")
        assertEquals(frames[1], label.frame)
        assertEquals(Verdict("A dog", "80 % sure"), label.verdict)
        assertEquals("A cat", label.stream("A cat").answer)
        assertEquals("", label.begin("Where?", frames[2]).answer)
    }

    private fun settings(vararg changes: Pair<String, Any?>): Map<String, Any?> =
        mapOf("title" to "t", "presets" to listOf("a"), "longestAnswer" to 8) + changes

    private fun preset(vararg fields: Pair<String, Any?>) =
        settings("presets" to listOf("a", mapOf("question" to "b") + fields))

    @Test
    fun settingsAreReadWithTheFormsOfAnswers() {
        val plain = AppConfig.of(settings())
        assertEquals(AppConfig("t", listOf(Preset("a")), 8, 0.5), plain)
        assertEquals(0.8, AppConfig.of(settings("leastConfidence" to 0.8)).leastConfidence)
        val choices = listOf("red", "blue")
        assertEquals(Form.choices(choices), AppConfig.of(preset("choices" to choices)).formOf("b"))
        assertEquals(Form.regex("\\d{1,3}"), AppConfig.of(preset("regex" to "\\d{1,3}")).formOf("b"))
        assertEquals(null, AppConfig.of(preset("choices" to choices)).formOf("a"))
    }

    @Test
    fun everyMistakeInTheSettingsIsNamed() {
        val wrong =
            listOf(
                "title" to settings("title" to ""),
                "title" to settings("title" to null),
                "1 to 12" to settings("presets" to emptyList<String>()),
                "1 to 12" to settings("presets" to "a"),
                "1 to 12" to settings("presets" to List(13) { "$it" }),
                "question 1 must be text" to settings("presets" to listOf(" ")),
                "question 1 must be text" to settings("presets" to listOf(mapOf("choices" to listOf("a")))),
                "longestAnswer" to settings("longestAnswer" to 0),
                "longestAnswer" to settings("longestAnswer" to 1.5),
                "leastConfidence" to settings("leastConfidence" to 1.5),
                "leastConfidence" to settings("leastConfidence" to "0.5"),
                "question 2 has \"choice\"" to preset("choice" to listOf("a")),
                "its choices must be" to preset("choices" to "a"),
                "its choices must be" to preset("choices" to listOf("a", 7)),
                "0 choices" to preset("choices" to emptyList<String>()),
                "there twice" to preset("choices" to listOf("a", "a")),
                "choices and a regex" to preset("choices" to listOf("a"), "regex" to "a"),
                "its regex must be" to preset("regex" to 7),
                "lazy" to preset("regex" to "a*?"),
                "too large" to preset("regex" to "(a{1000}){1000}"),
            )
        for ((word, json) in wrong) {
            val message = assertFailsWith<Failure>(word) { AppConfig.of(json) }.message
            assertTrue(word in message && '\n' !in message && message.length <= 300, message)
        }
    }

    @Test
    fun whatTheModelIsSureOf() {
        fun verdict(probability: Double?, text: String = "red", stop: StopReason = StopReason.END) =
            Verdict.of(Answer(text, Speed(), stop, listOfNotNull(probability?.let { Likelihood("red", it) })), 0.5)
        assertEquals(Verdict("red"), verdict(null))
        assertEquals(Verdict("No answer", answer = ""), verdict(null, ""))
        assertEquals(Verdict("red …", answer = "red"), verdict(null, stop = StopReason.LENGTH))
        assertEquals(Verdict("red", "50 % sure"), verdict(0.5))
        assertEquals(Verdict("red", "over 99 % sure"), verdict(0.996))
        assertEquals(Verdict("red", "100 % sure"), verdict(1.0))
        assertEquals(Verdict("Not sure", "perhaps red, 50 %", isSure = false, answer = "red"), verdict(0.4999))
        assertEquals(Verdict("Not sure", "perhaps red, under 1 %", isSure = false, answer = "red"), verdict(0.004))
        assertEquals("Not sure, perhaps red, 40 %", verdict(0.4).spoken)
    }

    @Test
    fun howSureTheModelIsOfAFreeAnswer() {
        fun verdict(confidence: Double?, text: String = "red", stop: StopReason = StopReason.END) =
            Verdict.of(Answer(text, Speed(), stop, confidence = confidence), 0.5)
        assertEquals(Verdict("red"), verdict(null))
        assertEquals(Verdict("red"), verdict(0.5), "only doubt is shown")
        val doubt = Verdict("Not sure", "perhaps red, 31 %", isSure = false, answer = "red")
        assertEquals(doubt, verdict(0.31))
        assertTrue(verdict(0.33).saysAlso(doubt))
        assertFalse(verdict(0.6).saysAlso(doubt))
        assertFalse(verdict(0.31, "blue").saysAlso(doubt))
        assertFalse(doubt.saysAlso(null))
        for (text in listOf("", " \n")) {
            assertEquals(Verdict("No answer", answer = ""), verdict(0.2, text))
            assertEquals(Verdict("No answer", answer = ""), verdict(null, text, StopReason.LENGTH))
        }
    }

    @Test
    fun aLabelDoesNotFlickerWhileTheModelIsNotSure() {
        val frame = Frame(RgbImage(1, 1, ByteArray(3)))
        val doubt = Verdict("Not sure", "perhaps A dog, 31 %", isSure = false, answer = "A dog")
        val label = LabelText().begin("What?", frame).finish(doubt).begin("What?", frame).stream("A d")
        assertEquals(doubt, label.verdict)
        assertEquals("A cat", label.stream("A cat").answer)
    }

    /** The files of settings that all three apps read alike, and those that all three refuse. */
    @Test
    fun settingsAreReadAsEveryAppReadsThem() {
        val vectors = PlainJson.shared("app_config") as Map<*, *>
        fun cases(key: String) = (vectors[key] as List<*>).map { it as Map<*, *> }
        for (case in cases("good")) {
            val made = AppConfig.of(case["json"] as Map<*, *>)
            val expected = case["expected"] as Map<*, *>
            val sampling = expected["sampling"] as Map<*, *>
            fun number(value: Any?) = (value as Number?)?.toDouble()
            assertEquals(expected["questions"], made.presets.map { it.question })
            assertEquals(expected["shown"], made.presets.map { it.shown("en") })
            assertEquals(number(expected["leastConfidence"]), made.leastConfidence)
            assertEquals(number(expected["crop"]), made.crop)
            assertEquals(expected["accent"], made.accent?.let { listOf(it shr 16, it shr 8 and 255, it and 255) })
            assertEquals(number(sampling["temperature"]), made.sampling.temperature)
            assertEquals(number(sampling["topP"]), made.sampling.topP)
            assertEquals(sampling["topK"], made.sampling.topK)
            assertEquals(number(sampling["seed"]), made.sampling.seed?.toDouble())
        }
        for (case in cases("bad")) {
            val says = case["says"] as String
            val message = assertFailsWith<Failure>(says) { AppConfig.of(case["json"] as Map<*, *>) }.message
            assertTrue(says in message && message.length <= 300, "$message, not: $says")
        }
    }

    @Test
    fun wordsOnAnAccentCanBeRead() {
        assertTrue(isLight(0x5EE0B7))
        assertFalse(isLight(0x1040A0))
    }

    @Test
    fun errorsOfTheLibraryBecomeSentences() {
        val cases =
            listOf(
                Triple(InputException("no"), Failure.Code.QUESTION, "No."),
                Triple(MemoryException(3 shl 20, 1 shl 20), Failure.Code.MEMORY, "The model needs 3 MiB, 1 MiB are"),
                Triple(BackendException("a\nb"), Failure.Code.MODEL, "A."),
                Triple(OutOfMemoryError(), Failure.Code.MEMORY, "This phone ran out"),
                Triple(IllegalStateException(), Failure.Code.MODEL, "IllegalStateException."),
            )
        for ((error, code, start) in cases) {
            val failure = Failure.of(error)
            assertEquals(code, failure.code)
            assertTrue(failure.message.startsWith(start), failure.message)
        }
    }
}
