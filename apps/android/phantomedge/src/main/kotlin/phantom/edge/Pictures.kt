package phantom.edge

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.media.ExifInterface
import android.net.Uri
import java.io.IOException
import java.io.InputStream
import phantom.edge.core.InputException
import phantom.edge.core.RgbImage

/** A bitmap's pixels; transparency becomes white. [exifOrientation] 1 to 8 turns it upright. */
fun RgbImage.Companion.of(bitmap: Bitmap, exifOrientation: Int = ExifInterface.ORIENTATION_NORMAL): RgbImage {
    if (bitmap.width.toLong() * bitmap.height > PIXEL_LIMIT) {
        throw InputException("a picture of ${bitmap.width}x${bitmap.height}: make it smaller")
    }
    // A bitmap in graphics memory has no pixels to read.
    val readable = if (bitmap.config == Bitmap.Config.HARDWARE) bitmap.copy(Bitmap.Config.ARGB_8888, false) else bitmap
    val argb = IntArray(bitmap.width * bitmap.height)
    readable.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
    return ofArgb(bitmap.width, bitmap.height, argb).upright(exifOrientation)
}

/** The picture behind a content or file address, upright. Its size is checked before it is decoded. */
fun RgbImage.Companion.open(resolver: ContentResolver, uri: Uri): RgbImage {
    fun <T> read(use: (InputStream) -> T): T =
        try {
            resolver.openInputStream(uri)?.use(use)
        } catch (error: IOException) {
            null
        } ?: throw InputException("$uri is no picture that can be read")
    val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    read { BitmapFactory.decodeStream(it, null, bounds) ?: bounds }
    if (bounds.outWidth < 1 || bounds.outHeight < 1) throw InputException("$uri is no picture that can be read")
    if (bounds.outWidth.toLong() * bounds.outHeight > PIXEL_LIMIT) {
        throw InputException("$uri is ${bounds.outWidth}x${bounds.outHeight}: make it smaller")
    }
    val orientation =
        read { ExifInterface(it).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL) }
    return of(read { BitmapFactory.decodeStream(it, null, null) ?: throw IOException() }, orientation)
}
