package phantom.edge.ar

import android.graphics.Color
import android.view.View
import androidx.activity.ComponentActivity
import androidx.activity.SystemBarStyle
import androidx.activity.enableEdgeToEdge
import androidx.core.view.ViewCompat
import androidx.core.view.WindowInsetsCompat
import androidx.core.view.WindowInsetsCompat.Type

/**
 * Lets the window reach behind the system's bars, as every app for Android 16 does, and keeps all that is to be read or
 * touched clear of bars, camera cutouts and the keyboard.
 */
internal fun ComponentActivity.reachEdges() {
    val bars = SystemBarStyle.dark(Color.TRANSPARENT) // the app is dark, whatever the system is
    enableEdgeToEdge(bars, bars)
    ViewCompat.setOnApplyWindowInsetsListener(findViewById<View>(android.R.id.content)) { content, insets ->
        val taken = insets.getInsets(Type.systemBars() or Type.displayCutout() or Type.ime())
        content.setPadding(taken.left, taken.top, taken.right, taken.bottom)
        WindowInsetsCompat.CONSUMED
    }
}
