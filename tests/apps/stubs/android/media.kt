@file:Suppress("unused", "UNUSED_PARAMETER")

package android.media

class ExifInterface(stream: java.io.InputStream) {
    fun getAttributeInt(tag: String, default: Int): Int = TODO()

    companion object {
        const val TAG_ORIENTATION = "Orientation"
        const val ORIENTATION_NORMAL = 1
    }
}
