package phantom.edge.ar.core

import java.util.Locale
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import phantom.edge.core.DeviceConditions
import phantom.edge.core.PhantomEdgeException

enum class Stage { LOADING, READY, LOOKING, ANSWERING, PAUSED, STOPPED }

enum class Tone { BUSY, LIVE, CALM, BAD }

/** What a failure is about: it goes when that is mended, and the model's is not hidden by the camera's. */
enum class Subject { MODEL, SOURCE, QUESTION }

data class Pill(val words: String, val tone: Tone)

data class Notice(val subject: Subject, val failure: Failure)

/** Everything that the screen shows. */
data class AppState(
    val question: String,
    val maxTokens: Int,
    /** How finely the model may look, and the side in pixels that is chosen; none where there is no choice. */
    val details: List<PictureDetail> = emptyList(),
    val tileSize: Int? = null,
    val stage: Stage = Stage.LOADING,
    val pill: Pill = Pill(Phrase.LOADING.text(), Tone.BUSY),
    val loading: LoadingStep? = LoadingStep(Phrase.LOADING_MODEL.text(), 0.0),
    val notice: Notice? = null,
    val label: LabelText = LabelText(),
    /** How much of the picture around the pin the model looks at. */
    val reach: Reach = Reach.of(),
    /** The same, or what it will be once the fingers that choose it rest. */
    val shownReach: Reach = reach,
    /** The last answer to each question about the picture or place of now. */
    val answers: Map<String, Verdict> = emptyMap(),
    val speed: Speed = Speed(),
    /** Bytes that the app takes; 0 while unknown. */
    val memory: Long = 0,
    val isPaused: Boolean = false,
    val isReady: Boolean = false,
    val source: SourceKind? = null,
    val facts: List<Fact> = emptyList(),
    val checks: List<CheckRow> = emptyList(),
    val isTesting: Boolean = false,
    /** What a screen reader is to say; the same words twice in a row are said once. */
    val announcement: String = "",
) {
    val canPause: Boolean
        get() = isReady && source != null && source != SourceKind.PICTURE
}

/** The app without its screen: model, source, loop. Everything happens on [scope]'s one thread. */
class AppModel(
    val config: AppConfig,
    private val conditions: DeviceConditions,
    private val scope: CoroutineScope,
    private val memory: () -> Long = { 0 },
    private val tileSizes: TileSizeStore = TileSizeStore.None,
    private val language: () -> String = { Locale.getDefault().language },
    private val load: EngineLoader,
) : LoopHost {
    private val current =
        MutableStateFlow(AppState(config.presets.first().question, config.longestAnswer, reach = Reach.of(config.crop)))
    val state: StateFlow<AppState> = current.asStateFlow()

    private val loop = AnswerLoop(this, scope)
    private var engine: Engine? = null
    private var source: PictureSource? = null
    private var isAway = false

    /** What is shown of a question: the label that it has in the app's settings, or itself. */
    fun shown(question: String): String = config.shown(question, language())

    // --- model

    /** Loads the model; again after a failure. */
    suspend fun loadModel() {
        dismiss(Subject.MODEL)
        engine?.close()
        engine = null
        change { copy(stage = Stage.LOADING, isReady = false, loading = LoadingStep(Phrase.LOADING_MODEL.text(), 0.0)) }
        val loaded =
            try {
                load(::progress).also { choose(it) }
            } catch (cancelled: CancellationException) {
                throw cancelled
            } catch (error: Exception) {
                return fail(Subject.MODEL, Failure.of(error))
            } catch (error: OutOfMemoryError) {
                return fail(Subject.MODEL, Failure.of(error))
            }
        engine = loaded
        val details = PictureDetail.all(loaded.tileSizes)
        change { copy(isReady = true, loading = null, facts = loaded.facts, details = details, memory = memory()) }
        say(Phrase.MODEL_READY.text())
        begin()
    }

    /** The size that the engine looks with: as the user chose it before, where this model has it. */
    private suspend fun choose(engine: Engine) {
        val sizes = engine.tileSizes
        val remembered = (state.value.tileSize ?: tileSizes.read())?.takeIf { it in sizes }
        remembered?.let { engine.useTiles(it) }
        change { copy(tileSize = remembered ?: sizes.firstOrNull()) }
    }

    /** Looks with tiles of another of the model's sizes, now and at the next start. */
    suspend fun chooseTiles(size: Int) {
        val engine = engine ?: return
        if (size == state.value.tileSize || state.value.isTesting) return
        change { copy(tileSize = size) }
        tileSizes.write(size)
        loop.pause()
        loop.settled()
        if (size != state.value.tileSize) return // another one has been chosen since
        try {
            engine.useTiles(size)
        } catch (error: PhantomEdgeException) {
            return fail(Subject.MODEL, Failure.of(error))
        }
        forget()
        begin()
    }

    /** Runs the bundle's recorded answers on this phone. */
    suspend fun selfTest() {
        val engine = engine ?: return
        if (state.value.isTesting) return
        loop.pause()
        change { copy(isTesting = true, checks = emptyList()) }
        loop.settled()
        val rows =
            try {
                engine.selfTest()
            } catch (cancelled: CancellationException) {
                throw cancelled
            } catch (error: Exception) {
                listOf(CheckRow(Phrase.SELF_TEST.text(), Failure.of(error).message, "", false))
            }
        change { copy(isTesting = false, checks = rows) }
        begin()
    }

    private fun progress(step: LoadingStep) {
        val share = "${(100 * step.part).toInt()} %"
        val words = if (step.part < 1) Phrase.LOADING_PART.text(share) else Phrase.PREPARING.text()
        change { copy(loading = step, pill = Pill(words, Tone.BUSY)) }
    }

    // --- source

    /** Another source takes the place of the one before. */
    fun use(next: PictureSource?) {
        source?.let { if (it !== next) it.close() }
        source = next
        next?.reach = state.value.reach
        change { copy(source = next?.kind, isPaused = false) }
        forget()
        if (next == null) {
            loop.pause()
        } else {
            dismiss(Subject.SOURCE)
            begin()
        }
    }

    fun sourceFailed(failure: Failure) {
        use(null)
        fail(Subject.SOURCE, failure)
    }

    /** Two fingers on the picture have moved apart by this factor, or together. */
    fun pinch(factor: Double, isOver: Boolean) = look(state.value.reach.scaled(factor), isOver)

    /** The pin has moved: the old answers were about another place. */
    fun aimed() {
        forget()
        if (state.value.isPaused) hold(false)
        begin()
    }

    /**
     * Looks at more or less around the pin from now on, or at the whole picture. While fingers still move, only what is
     * shown follows.
     */
    fun look(reach: Reach, isSettled: Boolean = true) {
        change { copy(shownReach = reach) }
        if (!isSettled || reach == state.value.reach) return
        change { copy(reach = reach) }
        source?.reach = reach
        aimed()
    }

    // --- what the user does

    fun choose(question: String) {
        val line = question.trim().replace(LINES, " ")
        if (line.isEmpty()) return
        change { copy(question = line) }
        begin()
    }

    /** All presets, one after the other, about one picture. */
    fun askAll() {
        if (!state.value.isReady || source == null) return
        if (state.value.canPause) hold(true)
        loop.ask(config.presets.map { it.question })
    }

    fun togglePause() {
        if (!state.value.canPause) return
        hold(!state.value.isPaused)
        say((if (state.value.isPaused) Phrase.PAUSED_HELD else Phrase.RESUMED).text())
        if (state.value.isPaused) loop.pause() else begin()
    }

    fun limit(maxTokens: Int) = change { copy(maxTokens = maxTokens) }

    fun closeNotice() = change { copy(notice = null) }

    /** The app goes to the background, or comes back. */
    fun setAway(away: Boolean) {
        if (away == isAway) return
        isAway = away
        if (away) loop.pause() else begin()
    }

    /** The system asks for memory. */
    suspend fun memoryWarning() {
        engine?.trim()
    }

    suspend fun close() {
        loop.pause()
        loop.settled()
        source?.close()
        engine?.close()
        engine = null
    }

    private fun hold(isPaused: Boolean) {
        change { copy(isPaused = isPaused) }
        if (isPaused) source?.freeze() else source?.thaw()
    }

    /** Starts, or starts again with what is chosen now. */
    private fun begin() {
        val now = state.value
        if (!now.isReady || source == null || isAway || now.isTesting) return
        if (now.isPaused || now.source == SourceKind.PICTURE) {
            loop.ask(listOf(now.question))
        } else {
            loop.startLive(now.question)
        }
    }

    private fun forget() = change { copy(answers = emptyMap(), label = LabelText()) }

    private fun dismiss(subject: Subject) {
        if (state.value.notice?.subject == subject) closeNotice()
    }

    private fun say(words: String) = change { copy(announcement = words) }

    private fun change(edit: AppState.() -> AppState) = current.update { it.edit() }

    private fun show(label: LabelText) {
        change { copy(label = label) }
        source?.show(label)
    }

    private fun fail(subject: Subject, failure: Failure) {
        if (subject == Subject.MODEL) {
            loop.pause()
            change { copy(isReady = false, loading = null) }
        }
        if (subject != Subject.QUESTION) {
            val words = if (subject == Subject.MODEL) Phrase.STOPPED else Phrase.TITLE_NO_CAMERA
            change { copy(stage = Stage.STOPPED, pill = Pill(words.text(), Tone.BAD)) }
        }
        if (state.value.notice?.subject == Subject.MODEL && subject != Subject.MODEL) return
        change { copy(notice = Notice(subject, failure)) }
        say("${failure.title}. ${failure.message}")
    }

    // --- LoopHost

    override val rest: Long?
        get() {
            val level = conditions.thermal
            val rest = CoolDown.rest(level)
            val words = CoolDown.words(level)
            if (rest == null && words != null) change { copy(pill = Pill(words, Tone.BUSY)) }
            return rest
        }

    override suspend fun grab(): Frame? {
        val frame = source?.grab()
        val hint = source?.hint
        if (frame == null && hint != null) change { copy(pill = Pill(hint, Tone.CALM)) }
        return frame
    }

    override suspend fun answer(frame: Frame, question: String): Answer {
        val engine = engine ?: throw CancellationException("the model was unloaded")
        return engine.ask(frame, question, config.formOf(question), state.value.maxTokens, ::heard)
    }

    override fun willAsk(question: String, frame: Frame) {
        dismiss(Subject.QUESTION)
        val words = CoolDown.words(conditions.thermal) ?: Phrase.LOOKING.text()
        change { copy(stage = Stage.LOOKING, pill = Pill(words, Tone.LIVE)) }
        show(state.value.label.begin(shown(question), frame))
    }

    private fun heard(text: String, speed: Speed) {
        val words = CoolDown.words(conditions.thermal) ?: Phrase.ANSWERING.text()
        change { copy(stage = Stage.ANSWERING, pill = Pill(words, Tone.LIVE), speed = speed) }
        show(state.value.label.stream(text))
    }

    override fun didAnswer(question: String, answer: Answer) {
        val verdict = Verdict.of(answer, config.leastConfidence)
        val isKnown = verdict.saysAlso(state.value.answers[question])
        change { copy(speed = answer.speed, memory = memory(), answers = answers + (question to verdict)) }
        show(state.value.label.finish(verdict))
        if (!isKnown) say("${shown(question)} ${verdict.spoken}")
    }

    override fun didFail(failure: Failure) =
        when (failure.code) {
            Failure.Code.QUESTION -> fail(Subject.QUESTION, failure)
            in SOURCES -> sourceFailed(failure)
            else -> fail(Subject.MODEL, failure)
        }

    override fun didIdle() {
        if (!state.value.isReady || source == null) return
        val words = if (state.value.source == SourceKind.PICTURE) Phrase.PICTURE else Phrase.PAUSED
        change { copy(stage = Stage.PAUSED, pill = Pill(words.text(), Tone.CALM)) }
    }

    private companion object {
        val LINES = Regex("\\s*[\\r\\n]+\\s*")
        val SOURCES =
            setOf(
                Failure.Code.PICTURE,
                Failure.Code.NO_CAMERA,
                Failure.Code.CAMERA_BUSY,
                Failure.Code.CAMERA_REFUSED,
                Failure.Code.AR,
            )
    }
}
