@file:Suppress("unused", "UNUSED_PARAMETER")

package android.app

open class ActivityManager {
    class MemoryInfo {
        @JvmField var availMem: Long = 0

        @JvmField var threshold: Long = 0
    }

    fun getMemoryInfo(info: MemoryInfo): Unit = TODO()
}
