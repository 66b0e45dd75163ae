@file:Suppress("unused", "UNUSED_PARAMETER")

package android.graphics

class Bitmap {
    enum class Config { ARGB_8888, HARDWARE }

    enum class CompressFormat { PNG }

    val width: Int get() = TODO()
    val height: Int get() = TODO()
    val config: Config? get() = TODO()

    fun copy(config: Config, isMutable: Boolean): Bitmap = TODO()

    fun setHasAlpha(hasAlpha: Boolean): Unit = TODO()

    fun compress(format: CompressFormat, quality: Int, stream: java.io.OutputStream): Boolean = TODO()

    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int): Unit = TODO()

    companion object {
        @JvmStatic
        fun createBitmap(colors: IntArray, width: Int, height: Int, config: Config): Bitmap = TODO()
    }
}

object BitmapFactory {
    class Options {
        @JvmField var inJustDecodeBounds = false

        @JvmField var outWidth = 0

        @JvmField var outHeight = 0
    }

    @JvmStatic
    fun decodeStream(stream: java.io.InputStream?, padding: Rect?, options: Options?): Bitmap? = TODO()
}

class Rect
