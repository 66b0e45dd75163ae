package phantom.edge.ar

import android.app.Activity
import android.app.AlertDialog
import android.content.Context

/**
 * The first screen, before the system asks for the camera: what this is, that nothing leaves the phone, what the model
 * knows, and a way on with a camera or without.
 */
class Welcome(private val activity: Activity, private val title: String, private val knows: String?) {
    private val preferences = activity.getSharedPreferences("settings", Context.MODE_PRIVATE)

    /** Whether it has been shown before. */
    val isOver: Boolean
        get() = preferences.getBoolean(KEY, false)

    fun show(onCamera: () -> Unit, onPicture: () -> Unit) {
        val words = listOfNotNull(activity.getString(R.string.welcome), knows, activity.getString(R.string.private_note))
        AlertDialog.Builder(activity)
            .setTitle(title)
            .setMessage(words.joinToString("\n\n"))
            .setPositiveButton(R.string.welcome_camera) { _, _ -> after(onCamera) }
            .setNegativeButton(R.string.welcome_picture) { _, _ -> after(onPicture) }
            .setCancelable(false)
            .show()
    }

    private fun after(act: () -> Unit) {
        preferences.edit().putBoolean(KEY, true).apply()
        act()
    }

    private companion object {
        const val KEY = "welcomed"
    }
}
