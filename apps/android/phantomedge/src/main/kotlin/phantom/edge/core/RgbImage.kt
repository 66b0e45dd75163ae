package phantom.edge.core

/** An upright picture of 8-bit RGB; [pixels] are `[height, width, 3]`. */
class RgbImage
private constructor(
    val width: Int,
    val height: Int,
    val pixels: ByteArray,
    @Suppress("UNUSED_PARAMETER") checked: Unit,
) {
    /** Throws [InputException] when the sizes do not fit the pixels, or are beyond [PIXEL_LIMIT]. */
    constructor(
        width: Int,
        height: Int,
        pixels: ByteArray,
    ) : this(width, height, pixels, check(width, height, pixels.size, 3))

    /** Turned and mirrored as an EXIF orientation of 1 to 8 asks for; any other value leaves it as it is. */
    fun upright(exifOrientation: Int): RgbImage {
        // Where the pixel at (x, y) of the result lies here.
        val (w, h) = width - 1 to height - 1
        return when (exifOrientation) {
            2 -> rearranged(width, height) { x, y -> at(w - x, y) }
            3 -> rearranged(width, height) { x, y -> at(w - x, h - y) }
            4 -> rearranged(width, height) { x, y -> at(x, h - y) }
            5 -> rearranged(height, width) { x, y -> at(y, x) }
            6 -> rearranged(height, width) { x, y -> at(y, h - x) }
            7 -> rearranged(height, width) { x, y -> at(w - y, h - x) }
            8 -> rearranged(height, width) { x, y -> at(w - y, x) }
            else -> this
        }
    }

    private fun at(x: Int, y: Int): Int = (y * width + x) * 3

    private inline fun rearranged(newWidth: Int, newHeight: Int, source: (Int, Int) -> Int): RgbImage {
        val result = ByteArray(pixels.size)
        for (y in 0 until newHeight) {
            for (x in 0 until newWidth) pixels.copyInto(result, (y * newWidth + x) * 3, source(x, y), source(x, y) + 3)
        }
        return unchecked(newWidth, newHeight, result)
    }

    /** The pixels of a rectangle. Throws [InputException] when it is empty or not inside. */
    fun cropped(x: Int, y: Int, width: Int, height: Int): RgbImage {
        val fits = width in 1..this.width && height in 1..this.height
        if (!fits || x !in 0..this.width - width || y !in 0..this.height - height) {
            val whole = "${this.width}x${this.height}"
            throw InputException("${width}x$height pixels from $x, $y are not inside a picture of $whole")
        }
        return part(x, y, width, height)
    }

    /** The square around a point, for a session to be asked about; see [Crop.around]. */
    fun croppedAround(x: Double, y: Double, size: Double = Crop.DEFAULT_SIZE): RgbImage {
        val crop = Crop.around(x, y, size, width, height)
        return part(crop.left, crop.top, crop.side, crop.side)
    }

    /** The pixels of a rectangle that is inside. */
    internal fun part(x: Int, y: Int, width: Int, height: Int): RgbImage {
        val part = ByteArray(width * height * 3)
        for (row in 0 until height) pixels.copyInto(part, row * width * 3, at(x, y + row), at(x, y + row) + width * 3)
        return unchecked(width, height, part)
    }

    override fun equals(other: Any?): Boolean =
        other is RgbImage && width == other.width && height == other.height && pixels.contentEquals(other.pixels)

    override fun hashCode(): Int = pixels.contentHashCode()

    companion object {
        /** The most pixels a picture may have, as in the Python package. */
        const val PIXEL_LIMIT = 64L shl 20

        /**
         * From `0xAARRGGBB` with alpha not multiplied in, row by row, as Android's `Bitmap.getPixels` gives them:
         * transparency becomes white, in Pillow's arithmetic.
         */
        fun ofArgb(width: Int, height: Int, argb: IntArray): RgbImage {
            check(width, height, argb.size, 1)
            val pixels = ByteArray(width * height * 3)
            for ((place, colour) in argb.withIndex()) {
                val alpha = colour ushr 24
                for (channel in 0 until 3) {
                    val value = colour ushr 16 - 8 * channel and 0xFF
                    val sum = value * alpha + 255 * (255 - alpha) + 0x80 shl 7
                    pixels[3 * place + channel] = ((sum shr 8) + sum shr 15).toByte()
                }
            }
            return unchecked(width, height, pixels)
        }

        internal fun unchecked(width: Int, height: Int, pixels: ByteArray) = RgbImage(width, height, pixels, Unit)

        private fun check(width: Int, height: Int, count: Int, channels: Int) {
            if (width < 1 || height < 1 || width.toLong() * height > PIXEL_LIMIT) {
                throw InputException("a picture of ${width}x$height: give one of 1 to ${PIXEL_LIMIT shr 20} megapixels")
            }
            if (count.toLong() != width.toLong() * height * channels) {
                throw InputException("$count values are no ${width}x$height picture of $channels channels")
            }
        }
    }
}
