@file:Suppress("unused", "UNUSED_PARAMETER")

package android.view

open class View {
    fun post(action: Runnable): Boolean = TODO()
}

abstract class Window {
    fun addFlags(flags: Int): Unit = TODO()
}

interface WindowManager {
    open class LayoutParams {
        companion object {
            const val FLAG_KEEP_SCREEN_ON = 0x80
        }
    }
}
