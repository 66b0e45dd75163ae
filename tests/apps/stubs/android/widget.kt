@file:Suppress("unused", "UNUSED_PARAMETER")

package android.widget

open class TextView(context: android.content.Context) : android.view.View() {
    var text: CharSequence
        get() = TODO()
        set(value) = TODO()
}
