package phantom.edge.ar

import android.os.Build
import android.view.View
import android.widget.SeekBar
import android.widget.ToggleButton
import phantom.edge.ar.core.AppModel
import phantom.edge.ar.core.AppState
import phantom.edge.ar.core.Reach

/** How much of the picture around the pin the model looks at, and the whole picture one tap away. */
class ReachBar(private val root: View, private val model: AppModel) : SeekBar.OnSeekBarChangeListener {
    private val slider = root.findViewById<SeekBar>(R.id.reach)
    private val whole = root.findViewById<ToggleButton>(R.id.whole_picture)
    private var isTracking = false

    init {
        slider.keyProgressIncrement = STEP
        slider.setOnSeekBarChangeListener(this)
        whole.setOnClickListener { model.look(Reach.of(model.state.value.reach.size, whole.isChecked)) }
    }

    fun show(state: AppState) {
        root.visible(R.id.reach_bar, state.source != null)
        slider.isEnabled = state.isReady
        whole.isEnabled = state.isReady
        whole.isChecked = state.shownReach.isWhole
        if (!isTracking) slider.progress = state.shownReach.percent
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) slider.stateDescription = state.shownReach.words
    }

    /** From keys and screen readers too, which move it without a touch. */
    override fun onProgressChanged(bar: SeekBar, progress: Int, fromUser: Boolean) {
        if (fromUser) model.look(Reach.of(progress / 100.0), isSettled = !isTracking)
    }

    override fun onStartTrackingTouch(bar: SeekBar) {
        isTracking = true
    }

    override fun onStopTrackingTouch(bar: SeekBar) {
        isTracking = false
        model.look(model.state.value.shownReach)
        show(model.state.value)
    }

    private companion object {
        const val STEP = 10 // percent, by a key
    }
}
