package phantom.edge.ar

import androidx.test.core.app.ApplicationProvider
import androidx.test.ext.junit.runners.AndroidJUnit4
import kotlinx.coroutines.runBlocking
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import phantom.edge.ar.core.Frame
import phantom.edge.core.RgbImage
import phantom.edge.of

/** The bundle inside the app, on the phone that runs the tests: recorded answers, and one about a drawn picture. */
@RunWith(AndroidJUnit4::class)
class GoldenTest {
    @Test
    fun theRecordedAnswersAreGivenHere() = runBlocking {
        val parts = ArrayList<Double>()
        val engine = ModelLoader(ApplicationProvider.getApplicationContext()).load { parts += it.part }
        try {
            assertEquals(parts.sorted(), parts)
            val rows = engine.selfTest()
            assertEquals(4, rows.size)
            for (row in rows) assertTrue("${row.name}: ${row.measured}, limit ${row.limit}", row.passed)
            val frame = Frame(RgbImage.of(StillSource.drawnScene()))
            val answer = engine.ask(frame, "What colour is the largest object?", null, 16) { _, _ -> }
            assertTrue(answer.text.isNotEmpty())
        } finally {
            engine.close()
        }
    }
}
