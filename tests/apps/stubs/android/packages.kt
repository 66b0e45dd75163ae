@file:Suppress("unused")

package android.content.pm

class ApplicationInfo {
    @JvmField var flags: Int = 0

    @JvmField var nativeLibraryDir: String = ""

    companion object {
        const val FLAG_DEBUGGABLE = 2
    }
}
