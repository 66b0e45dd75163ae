@file:Suppress("unused", "UNUSED_PARAMETER")

package android.system

class ErrnoException : Exception()

object Os {
    /** The JVM cannot; whoever starts it sets what is needed. */
    @JvmStatic
    fun setenv(name: String, value: String, overwrite: Boolean) = Unit
}
