@file:Suppress("unused", "UNUSED_PARAMETER")

package android.app

open class Activity : android.content.Context() {
    open val intent: android.content.Intent get() = TODO()
    open val window: android.view.Window get() = TODO()

    protected open fun onCreate(saved: android.os.Bundle?): Unit = TODO()

    open fun setContentView(view: android.view.View): Unit = TODO()

    open fun finishAndRemoveTask(): Unit = TODO()
}

open class ActivityManager {
    class MemoryInfo {
        @JvmField var availMem: Long = 0

        @JvmField var threshold: Long = 0
    }

    fun getMemoryInfo(info: MemoryInfo): Unit = TODO()
}
