package phantom.edge.ar.core

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import phantom.edge.core.BackendException
import phantom.edge.core.InputException
import phantom.edge.core.MemoryException

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
        var label = LabelText().begin("What?").stream("A").stream("A dog").finish("A dog")
        label = label.begin("What?").stream("A")
        assertEquals("A dog", label.answer)
        assertEquals("A cat", label.stream("A cat").answer)
        assertEquals("", label.begin("Where?").answer)
        assertEquals("No answer", label.finish("").answer)
    }

    @Test
    fun everyMistakeInTheSettingsIsNamed() {
        for ((word, make) in
            listOf<Pair<String, () -> AppConfig>>(
                "title" to { AppConfig("", listOf("a"), 1) },
                "1 to 12" to { AppConfig("t", emptyList(), 1) },
                "1 to 12" to { AppConfig("t", listOf(" "), 1) },
                "longestAnswer" to { AppConfig("t", listOf("a"), 0) },
            )) {
            assertTrue(word in assertFailsWith<Failure> { make() }.message)
        }
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
