package phantom.edge.ar

import android.app.Activity
import android.content.res.ColorStateList
import android.content.res.Configuration
import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.view.inputmethod.EditorInfo
import android.widget.Button
import android.widget.EditText
import android.widget.ProgressBar
import android.widget.TextView
import kotlinx.coroutines.CoroutineScope
import phantom.edge.ar.core.AppModel
import phantom.edge.ar.core.AppState
import phantom.edge.ar.core.Failure
import phantom.edge.ar.core.Notice
import phantom.edge.ar.core.Numbers
import phantom.edge.ar.core.SourceKind
import phantom.edge.ar.core.Subject
import phantom.edge.ar.core.Tone
import phantom.edge.ar.core.isLight

/** The views: what the user does goes to [model], what it says is shown. */
class Screen(private val activity: Activity, private val model: AppModel, scope: CoroutineScope) {
    private val stageView = LayoutInflater.from(activity).inflate(R.layout.stage, null)
    val stage = Stage(stageView)
    private val reachBar = ReachBar(stageView, model)
    private val about = AboutDialog(activity, model, scope)
    private val presets = HashMap<String, View>()
    private val accent = model.config.accent?.let { it or OPAQUE }
    private var spoken = ""
    private var shown: Pair<AppState, Boolean>? = null

    var onRetry: (Subject) -> Unit = {}
    var onAr: () -> Unit = {}
    var onCamera: () -> Unit = {}
    var onPicture: () -> Unit = {}
    var onPinCentre: () -> Unit = {}
    var onSettings: () -> Unit = {}

    init {
        build()
        stageView.click(R.id.use_ar) { onAr() }
        stageView.click(R.id.use_camera) { onCamera() }
        stageView.click(R.id.choose_picture) { onPicture() }
        stageView.click(R.id.about) { about.show() }
        stageView.click(R.id.pin_centre) { onPinCentre() }
        stageView.click(R.id.notice_settings) { onSettings() }
        stageView.click(R.id.notice_close) { model.closeNotice() }
        stageView.click(R.id.notice_retry) {
            val subject = model.state.value.notice?.subject
            model.closeNotice()
            subject?.let(onRetry)
        }
    }

    /** For the way that the phone is held now; the stage itself stays as it is. */
    fun build() {
        (stageView.parent as? ViewGroup)?.removeView(stageView)
        activity.setContentView(R.layout.main)
        activity.findViewById<ViewGroup>(R.id.stage_place).addView(stageView)
        addPresets(activity.findViewById(R.id.presets))
        val field = activity.findViewById<EditText>(R.id.question)
        field.setOnEditorActionListener { _, action, _ ->
            if (action == EditorInfo.IME_ACTION_SEND) send(field)
            action == EditorInfo.IME_ACTION_SEND
        }
        activity.findViewById<Button>(R.id.ask).setOnClickListener { send(field) }
        activity.findViewById<Button>(R.id.ask_all).setOnClickListener { model.askAll() }
        activity.findViewById<Button>(R.id.pause).setOnClickListener { model.togglePause() }
        shown?.let { (state, canUseAr) -> show(state, canUseAr) }
    }

    fun show(state: AppState, canUseAr: Boolean) {
        shown = state to canUseAr
        showPill(state)
        showCards(state)
        showNotice(state.notice.takeIf { state.loading == null })
        showPanel(state)
        about.update(state)
        reachBar.show(state)
        stageView.visible(R.id.use_ar, canUseAr && state.source != SourceKind.AR)
        stageView.visible(R.id.use_camera, state.source == SourceKind.AR || state.source == SourceKind.PICTURE)
        stageView.visible(R.id.pin_centre, state.source == SourceKind.AR)
        if (state.announcement != spoken) {
            spoken = state.announcement
            stageView.announceForAccessibility(spoken)
        }
    }

    private fun addPresets(list: ViewGroup) {
        presets.clear()
        val isWide = activity.resources.configuration.orientation == Configuration.ORIENTATION_LANDSCAPE
        for ((question) in model.config.presets) {
            val card = LayoutInflater.from(activity).inflate(R.layout.preset, list, false)
            if (isWide) card.layoutParams = card.layoutParams.apply { width = ViewGroup.LayoutParams.MATCH_PARENT }
            card.text(R.id.preset_question, model.shown(question))
            card.setOnClickListener { model.choose(question) }
            presets[question] = card
            list.addView(card)
        }
    }

    private fun send(field: EditText) {
        model.choose(field.text.toString())
        field.text.clear()
    }

    private fun showPill(state: AppState) {
        stageView.text(R.id.state, state.pill.words)
        val colour =
            when (state.pill.tone) {
                Tone.LIVE -> accent ?: activity.getColor(R.color.accent)
                Tone.BUSY -> activity.getColor(R.color.busy)
                Tone.CALM -> activity.getColor(R.color.faint)
                Tone.BAD -> activity.getColor(R.color.warn)
            }
        stageView.findViewById<View>(R.id.dot).background.mutate().setTint(colour)
    }

    private fun showCards(state: AppState) {
        val loading = state.loading
        stageView.visible(R.id.loading, loading != null)
        if (loading == null) return
        stageView.text(R.id.loading_step, loading.text)
        stageView.findViewById<ProgressBar>(R.id.loading_bar).progress = (1000 * loading.part).toInt()
    }

    private fun showNotice(notice: Notice?) {
        stageView.visible(R.id.notice, notice != null)
        if (notice == null) return
        stageView.text(R.id.notice_title, notice.failure.title)
        stageView.text(R.id.notice_text, notice.failure.message)
        stageView.visible(R.id.notice_retry, notice.failure.canRetry)
        stageView.visible(R.id.notice_settings, notice.failure.code == Failure.Code.CAMERA_REFUSED)
        stageView.visible(R.id.notice_close, notice.subject != Subject.MODEL)
    }

    private fun showPanel(state: AppState) {
        for ((question, card) in presets) {
            val answer = state.answers[question]
            card.text(R.id.preset_answer, answer?.text ?: activity.getString(R.string.unknown))
            card.findViewById<View>(R.id.preset_answer).contentDescription = answer?.spoken
            card.isEnabled = state.isReady
            card.isSelected = question == state.question
        }
        activity.findViewById<View>(R.id.ask).isEnabled = state.isReady
        activity.findViewById<View>(R.id.ask_all).isEnabled = state.isReady
        val pause = activity.findViewById<Button>(R.id.pause)
        pause.isEnabled = state.canPause
        pause.setText(if (state.isPaused) R.string.resume else R.string.pause)
        pause.setTextColor(activity.getColor(if (state.canPause) R.color.ground else R.color.faint))
        val ask = activity.findViewById<Button>(R.id.ask)
        ask.backgroundTintList = accent?.takeIf { state.isReady }?.let(ColorStateList::valueOf)
        val onAccent = if (accent == null || isLight(accent)) R.color.on_accent else R.color.ink
        ask.setTextColor(activity.getColor(if (state.isReady) onAccent else R.color.faint))
        meter(R.id.first_token, state.speed.firstToken > 0) { Numbers.seconds(state.speed.firstToken) }
        meter(R.id.speed, state.speed.rate > 0) { Numbers.perSecond(state.speed.rate) }
        meter(R.id.memory, state.memory > 0) { Numbers.megabytes(state.memory) }
    }

    private fun meter(id: Int, isKnown: Boolean, words: () -> String) {
        val view = activity.findViewById<TextView>(id)
        view.text = if (isKnown) words() else activity.getString(R.string.unknown)
    }

    private companion object {
        const val OPAQUE = 0xFF shl 24
    }
}

internal fun View.text(id: Int, words: String) {
    val view = findViewById<TextView>(id)
    if (view.text.toString() != words) view.text = words
}

internal fun View.visible(id: Int, shows: Boolean) {
    findViewById<View>(id).visibility = if (shows) View.VISIBLE else View.GONE
}

internal fun View.click(id: Int, action: () -> Unit) = findViewById<View>(id).setOnClickListener { action() }
