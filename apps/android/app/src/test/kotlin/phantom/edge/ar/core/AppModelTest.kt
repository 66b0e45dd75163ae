package phantom.edge.ar.core

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue
import phantom.edge.core.BundleException
import phantom.edge.core.Form
import phantom.edge.core.InputException
import phantom.edge.core.StopReason
import phantom.edge.core.ThermalLevel

class AppModelTest {
    private val AppModel.now
        get() = state.value

    @Test
    fun fromLoadingToALiveAnswer() = onOneThread {
        val (app, camera) = model() to Pictures()
        app.use(camera)
        assertEquals(Stage.LOADING, app.now.stage)
        app.loadModel()
        assertNull(app.now.loading)
        eventually("an answer") { "What is it?" in app.now.answers }
        val answer = app.now.answers.getValue("What is it?").text
        assertTrue(answer.startsWith("A stand-in answer to “What is it?” about 1 by"), answer)
        assertTrue(answer.endsWith(" …"), "cut short")
        assertEquals(12_000_000, app.now.memory)
        assertTrue(app.now.speed.firstToken > 0)
        assertEquals("What is it?", camera.labels.first().question)
        assertEquals("What is it? $answer", app.now.announcement)
        eventually("it looks again by itself") { camera.taken > 1 }
    }

    @Test
    fun anotherQuestionEndsTheOneUnderWay() = onOneThread {
        val app = model(engine = Stuck())
        app.use(Pictures())
        app.loadModel()
        eventually("it is asked") { app.now.stage == Stage.LOOKING }
        app.choose(" Own\n question ")
        eventually("the new one is asked") { app.now.label.question == "Own question" }
        app.choose("  ")
        assertEquals("Own question", app.now.question)
        assertTrue(app.now.answers.isEmpty())
    }

    @Test
    fun pauseHoldsOnePictureAndAllPresetsAreAskedAboutIt() = onOneThread {
        val (app, camera) = model() to Pictures()
        app.use(camera)
        app.loadModel()
        app.askAll()
        eventually("both answers") { app.now.answers.size == 2 && app.now.stage == Stage.PAUSED }
        assertTrue(app.now.isPaused)
        assertTrue(app.now.answers.values.all { "about 99 by" in it.text }, "${app.now.answers}")
        assertEquals(Pill("Paused", Tone.CALM), app.now.pill)
        app.togglePause()
        eventually("it looks again") { camera.taken > 0 }
        app.aimed()
        assertTrue(app.now.answers.isEmpty())
    }

    @Test
    fun aPictureIsAskedOnceAndCannotBePaused() = onOneThread {
        val (app, picture) = model() to Pictures(SourceKind.PICTURE)
        app.use(picture)
        app.loadModel()
        eventually("it rests") { app.now.stage == Stage.PAUSED && app.now.answers.size == 1 }
        assertEquals("Picture", app.now.pill.words)
        app.togglePause()
        assertFalse(app.now.isPaused)
        assertEquals(1, picture.taken)
        app.use(Pictures())
        assertTrue(picture.isClosed)
    }

    @Test
    fun moreOrLessOfThePictureIsAskedAboutAnew() = onOneThread {
        val (app, camera) = model() to Pictures()
        app.look(Reach.of(0.7))
        app.use(camera)
        assertEquals(Reach.of(0.7), camera.reach)
        app.loadModel()
        eventually("an answer") { app.now.answers.size == 1 }
        assertEquals(1, app.now.label.frame?.image?.height, "the label has what was looked at")
        app.togglePause()
        app.look(Reach.of(isWhole = true))
        assertTrue(camera.reach.isWhole)
        assertTrue(app.now.answers.isEmpty())
        assertFalse(app.now.isPaused)
        eventually("it is asked anew") { app.now.answers.size == 1 }
        app.look(Reach.of(isWhole = true))
        assertEquals(1, app.now.answers.size, "nothing has changed")
        app.pinch(0.5, isOver = false)
        assertEquals(Reach.of(0.2), app.now.shownReach)
        assertTrue(camera.reach.isWhole, "fingers still move")
        app.pinch(0.5, isOver = true)
        assertEquals(Reach.of(0.2), camera.reach)
        val picture = Pictures(SourceKind.PICTURE)
        app.use(picture)
        assertEquals(Reach.of(0.2), picture.reach, "another source looks as far")
    }

    @Test
    fun inTheBackgroundNothingIsAsked() = onOneThread {
        val (app, camera) = model() to Pictures()
        app.setAway(true)
        app.use(camera)
        app.loadModel()
        assertEquals(0, camera.taken)
        app.setAway(false)
        eventually("it goes on") { camera.taken > 0 }
    }

    @Test
    fun aHotPhoneIsLeftToCool() = onOneThread {
        val (weather, camera) = Weather(ThermalLevel.CRITICAL) to Pictures()
        val app = model(weather)
        app.use(camera)
        app.loadModel()
        eventually("it says so") { app.now.pill.words == "Cooling down" }
        assertEquals(0, camera.taken)
        weather.thermal = ThermalLevel.SERIOUS
        eventually("it goes on, slower") { app.now.answers.size == 1 }
        assertEquals(1, camera.taken)
        val rests = ThermalLevel.entries.map { CoolDown.rest(it) ?: Long.MAX_VALUE }
        assertEquals(rests.sorted(), rests)
    }

    @Test
    fun aSourceWithoutAPictureSaysWhatToDo() = onOneThread {
        val (app, camera) = model() to Pictures(SourceKind.AR)
        camera.isEmpty = true
        camera.hint = "Tap a surface"
        app.use(camera)
        app.loadModel()
        eventually("the hint") { app.now.pill.words == "Tap a surface" }
        camera.isEmpty = false
        eventually("an answer") { app.now.answers.isNotEmpty() }
    }

    @Test
    fun failuresStopTheLoopAndAnotherTryMendsThem() = onOneThread {
        var tries = 0
        val app =
            AppModel(CONFIG, Weather(), this) {
                if (++tries == 1) throw BundleException("model.pte is missing: copy it")
                FakeEngine(1)
            }
        app.use(Pictures())
        app.loadModel()
        assertEquals(Failure.Code.BUNDLE, app.now.notice?.failure?.code)
        assertEquals("Model.pte is missing: copy it.", app.now.notice?.failure?.message)
        app.sourceFailed(Failure(Failure.Code.CAMERA_REFUSED, "x"))
        assertEquals(Subject.MODEL, app.now.notice?.subject, "the model's notice is not hidden by the camera's")
        app.use(Pictures())
        app.loadModel()
        assertNull(app.now.notice)
        eventually("an answer") { app.now.answers.isNotEmpty() }
    }

    @Test
    fun anAnswerOutOfAListComesWithHowSureTheModelIs() = onOneThread {
        val form = Form.choices(listOf("red", "blue"))
        for ((least, verdict) in
            listOf(0.6 to Verdict("red", "67 % sure"), 0.7 to Verdict("Not sure", "perhaps red, 67 %", false, "red"))) {
            val config = AppConfig("Test", listOf(Preset("What colour?", form), Preset("How many?")), 30, least)
            val app = AppModel(config, Weather(), this) { FakeEngine(1) }
            val picture = Pictures(SourceKind.PICTURE)
            app.use(picture)
            app.loadModel()
            eventually("an answer") { "What colour?" in app.now.answers }
            assertEquals(verdict, app.now.answers["What colour?"])
            assertEquals(verdict, picture.labels.last().verdict)
            assertEquals("What colour? ${verdict.spoken}", app.now.announcement)
            app.askAll()
            eventually("the other answer") { app.now.answers.size == 2 }
            assertTrue(app.now.answers.getValue("How many?").run { isSure && note.isEmpty() })
            app.close()
        }
    }

    @Test
    fun theSettingsSayHowMuchIsSeenAndWhatIsShown() = onOneThread {
        val preset = Preset("What colour?", labels = mapOf("de" to "Farbe"))
        val config = AppConfig("Test", listOf(preset), 30, crop = 0.25)
        val app = AppModel(config, Weather(), this, language = { "de" }) { FakeEngine(1) }
        val picture = Pictures(SourceKind.PICTURE)
        app.use(picture)
        assertEquals(listOf(0.25, 0.25, 0.25), listOf(app.now.reach, app.now.shownReach, picture.reach).map { it.size })
        app.loadModel()
        eventually("an answer") { "What colour?" in app.now.answers }
        assertEquals("Farbe", app.now.label.question)
        assertTrue(app.now.announcement.startsWith("Farbe A stand-in answer to “What colour?”"), app.now.announcement)
        app.close()
    }

    @Test
    fun whatTheModelIsNotSureOfIsSaidOnceHoweverLikely() = onOneThread {
        val app = model()
        fun doubt(confidence: Double, text: String = "red") =
            app.didAnswer("What?", Answer(text, Speed(), StopReason.END, confidence = confidence))
        doubt(0.31)
        assertEquals("What? Not sure, perhaps red, 31 %", app.now.announcement)
        doubt(0.33)
        assertEquals("What? Not sure, perhaps red, 31 %", app.now.announcement)
        assertEquals("perhaps red, 33 %", app.now.label.verdict.note)
        doubt(0.9)
        assertEquals("What? red", app.now.announcement)
        doubt(0.9, "")
        assertEquals("What? No answer", app.now.announcement)
        app.close()
    }

    @Test
    fun pictureDetailIsChosenAndRemembered() = onOneThread {
        val (kept, looked) = ArrayList<Int>() to ArrayList<Int>()
        val store =
            object : TileSizeStore {
                override fun read() = kept.lastOrNull()

                override fun write(size: Int) {
                    kept += size
                }
            }
        val sized = { inner: Engine ->
            object : Engine by inner {
                override val tileSizes = listOf(336, 448, 224)

                override suspend fun useTiles(size: Int) {
                    looked += size
                }
            }
        }
        val start = { AppModel(CONFIG, Weather(), this, tileSizes = store) { sized(FakeEngine(1)) } }
        val app = start()
        app.use(Pictures(SourceKind.PICTURE))
        assertTrue(app.now.details.isEmpty())
        app.loadModel()
        assertEquals(listOf("Fine, 448 pixels", "Medium, 336 pixels", "Fast, 224 pixels"), app.now.details.map { it.name })
        assertEquals(336, app.now.tileSize)
        eventually("an answer") { app.now.answers.size == 1 }
        app.chooseTiles(224)
        assertEquals(listOf(224), looked)
        assertTrue(app.now.answers.isEmpty())
        eventually("another answer") { app.now.answers.size == 1 }
        val again = start()
        again.loadModel()
        assertEquals(224, again.now.tileSize)
        assertEquals(listOf(224, 224), looked)
        kept += 100 // of another model
        val third = start()
        third.loadModel()
        assertEquals(336, third.now.tileSize)
    }

    @Test
    fun oneSizeOffersNoChoice() = onOneThread {
        val app = model(engine = Stuck())
        app.loadModel()
        assertTrue(app.now.isReady && app.now.details.isEmpty())
        assertEquals(listOf("Fine, 448 pixels", "Fast, 224 pixels"), PictureDetail.all(listOf(224, 448)).map { it.name })
    }

    @Test
    fun aQuestionThatCannotBeAskedLeavesTheModelLoaded() = onOneThread {
        val app = model(engine = Stuck(InputException("the question holds <img>")))
        app.use(Pictures())
        app.loadModel()
        eventually("the notice") { app.now.notice?.subject == Subject.QUESTION }
        assertTrue(app.now.isReady)
        app.selfTest()
        assertEquals(listOf(false), app.now.checks.map { it.passed })
    }

    @Test
    fun outOfMemoryStopsTheModelAndTheNextTryClosesIt() = onOneThread {
        val engine = Stuck(OutOfMemoryError())
        val app = model(engine = engine)
        app.use(Pictures())
        app.loadModel()
        eventually("the notice") { app.now.notice?.failure?.code == Failure.Code.MEMORY }
        assertFalse(app.now.isReady)
        assertEquals(Pill("Stopped", Tone.BAD), app.now.pill)
        app.loadModel()
        assertTrue(engine.isClosed)
    }
}
