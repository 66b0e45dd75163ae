package phantom.edge.ar

import android.app.Activity
import android.app.AlertDialog
import android.view.LayoutInflater
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.Spinner
import java.io.IOException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.launch
import phantom.edge.ar.core.AppModel
import phantom.edge.ar.core.AppState
import phantom.edge.ar.core.CheckRow

/** What the model is, where it runs, how finely it looks, the longest answer, the self-test, the notices. */
class AboutDialog(private val activity: Activity, private val model: AppModel, private val scope: CoroutineScope) {
    private var view: View? = null

    fun show() {
        val view = LayoutInflater.from(activity).inflate(R.layout.about, null)
        this.view = view
        view.click(R.id.self_test) { scope.launch { model.selfTest() } }
        view.click(R.id.notices) { showNotices() }
        addLengths(view.findViewById(R.id.longest))
        addDetails(view.findViewById(R.id.detail))
        update(model.state.value)
        AlertDialog.Builder(activity)
            .setTitle(R.string.about)
            .setView(view)
            .setPositiveButton(R.string.close, null)
            .setOnDismissListener { this.view = null }
            .show()
    }

    fun update(state: AppState) {
        val view = view ?: return
        view.text(R.id.facts, state.facts.joinToString("\n") { activity.getString(R.string.fact, it.name, it.value) })
        view.text(R.id.checks, state.checks.joinToString("\n", transform = ::line))
        val test = view.findViewById<Button>(R.id.self_test)
        test.isEnabled = state.isReady && !state.isTesting
        test.setText(if (state.isTesting) R.string.running else R.string.run_self_test)
    }

    private fun line(row: CheckRow): String {
        val verdict = activity.getString(if (row.passed) R.string.passed else R.string.failed)
        return activity.getString(R.string.check, row.name, row.measured, row.limit, verdict)
    }

    private fun addLengths(list: Spinner) {
        val lengths = (LENGTHS + model.config.longestAnswer).distinct().sorted()
        list.adapter = ArrayAdapter(activity, android.R.layout.simple_spinner_dropdown_item, lengths)
        list.setSelection(lengths.indexOf(model.state.value.maxTokens).coerceAtLeast(0))
        list.onChosen { model.limit(lengths[it]) }
    }

    /** Shown where the model has a choice; one that is loaded while the dialog is open offers it the next time. */
    private fun addDetails(list: Spinner) {
        val (details, size) = model.state.value.run { details to tileSize }
        val visibility = if (details.isEmpty()) View.GONE else View.VISIBLE
        list.visibility = visibility
        view?.findViewById<View>(R.id.detail_title)?.visibility = visibility
        list.adapter = ArrayAdapter(activity, android.R.layout.simple_spinner_dropdown_item, details)
        list.setSelection(details.indexOfFirst { it.size == size }.coerceAtLeast(0))
        list.onChosen { scope.launch { model.chooseTiles(details[it].size) } }
    }

    private fun Spinner.onChosen(act: (Int) -> Unit) {
        onItemSelectedListener =
            object : AdapterView.OnItemSelectedListener {
                override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) = act(position)

                override fun onNothingSelected(parent: AdapterView<*>?) = Unit
            }
    }

    private fun showNotices() {
        val text =
            try {
                activity.assets.open("THIRD_PARTY_NOTICES.txt").use { it.readBytes().decodeToString() }
            } catch (error: IOException) {
                activity.getString(R.string.notices_missing)
            }
        AlertDialog.Builder(activity)
            .setTitle(R.string.notices)
            .setMessage(text)
            .setPositiveButton(R.string.close, null)
            .show()
    }

    private companion object {
        val LENGTHS = listOf(16, 32, 64, 128, 256)
    }
}
