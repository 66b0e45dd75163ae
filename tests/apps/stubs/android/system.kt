@file:Suppress("unused", "UNUSED_PARAMETER")

package android.system

class ErrnoException(functionName: String, errno: Int) : Exception()

object Os {
    @JvmStatic
    fun setenv(name: String, value: String, overwrite: Boolean): Unit = TODO()
}
