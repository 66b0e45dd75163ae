package phantom.edge.ar

import android.content.Intent
import androidx.test.core.app.ActivityScenario
import androidx.test.core.app.ApplicationProvider
import androidx.test.espresso.Espresso.onView
import androidx.test.espresso.ViewAssertion
import androidx.test.espresso.action.ViewActions.click
import androidx.test.espresso.action.ViewActions.closeSoftKeyboard
import androidx.test.espresso.action.ViewActions.pressImeActionButton
import androidx.test.espresso.action.ViewActions.typeText
import androidx.test.espresso.assertion.ViewAssertions.matches
import androidx.test.espresso.matcher.ViewMatchers.isEnabled
import androidx.test.espresso.matcher.ViewMatchers.withId
import androidx.test.espresso.matcher.ViewMatchers.withText
import androidx.test.ext.junit.runners.AndroidJUnit4
import org.hamcrest.Matchers.containsString
import org.hamcrest.Matchers.startsWith
import org.junit.After
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith

/** The whole app with the stand-in engine and a drawn picture: runs on an emulator, without a model or a camera. */
@RunWith(AndroidJUnit4::class)
class StandInTest {
    private lateinit var scenario: ActivityScenario<MainActivity>

    @Before
    fun launch() {
        val intent = Intent(ApplicationProvider.getApplicationContext(), MainActivity::class.java)
        scenario = ActivityScenario.launch(intent.putExtra(MainActivity.ENGINE, MainActivity.FAKE))
    }

    @After
    fun end() = scenario.close()

    @Test
    fun aQuestionOfOnesOwnIsAnsweredInTheLabel() {
        eventually(R.id.ask, matches(isEnabled()))
        onView(withId(R.id.question)).perform(typeText("Is it a cube?"), pressImeActionButton(), closeSoftKeyboard())
        eventually(R.id.label_question, matches(withText("Is it a cube?")))
        eventually(R.id.label_answer, matches(withText(startsWith("A stand-in answer to “Is it a cube?”"))))
        eventually(R.id.state, matches(withText(R.string.say_picture)))
    }

    /** The stand-in says how many pixels it sees: the drawn scene has 720 by 960. */
    @Test
    fun theWholePictureIsOneTapAway() {
        eventually(R.id.label_answer, matches(withText(containsString("288 by 288"))))
        onView(withId(R.id.whole_picture)).perform(click())
        eventually(R.id.label_answer, matches(withText(containsString("720 by 720"))))
    }

    @Test
    fun theSelfTestReports() {
        eventually(R.id.ask, matches(isEnabled()))
        onView(withId(R.id.about)).perform(click())
        onView(withId(R.id.self_test)).perform(click())
        eventually(R.id.checks, matches(withText(startsWith("No model to test"))))
    }

    private fun eventually(id: Int, holds: ViewAssertion) {
        val end = System.currentTimeMillis() + 20_000
        while (true) {
            try {
                onView(withId(id)).check(holds)
                return
            } catch (error: Throwable) {
                if (System.currentTimeMillis() > end) throw error
                Thread.sleep(100)
            }
        }
    }
}
