package phantom.edge.ar.core

import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse

class PhraseTest {
    @AfterTest
    fun speakEnglish() = Phrase.use(null)

    @Test
    fun whatTheAppSaysIsWhatItsLanguageHas() {
        assertEquals("perhaps red, 30 %", Phrase.PERHAPS.text("red", "30 %"))
        Phrase.use { phrase -> if (phrase == Phrase.PERHAPS) "zu %2\$s %1\$s" else "?" }
        assertEquals("zu 30 % red", Phrase.PERHAPS.text("red", "30 %"))
        assertEquals("?", Failure.of(OutOfMemoryError()).title)
    }

    @Test
    fun everyPhraseCanBeSaid() {
        for (phrase in Phrase.entries) assertFalse(phrase.text("a", "b").contains('%'), phrase.name)
    }
}
