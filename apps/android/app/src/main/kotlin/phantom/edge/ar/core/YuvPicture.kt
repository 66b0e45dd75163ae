package phantom.edge.ar.core

import java.nio.ByteBuffer
import phantom.edge.core.RgbImage

/** A camera's picture in YUV 4:2:0, full range BT.601 as Android's cameras give it: three planes with their strides. */
class YuvPicture(private val y: Plane, private val u: Plane, private val v: Plane) {
    class Plane(val bytes: ByteBuffer, val rowStride: Int, val pixelStride: Int)

    /** The pixels of a part, converted in 16-bit fixed point. */
    fun cut(part: PixelRect): RgbImage {
        val rgb = ByteArray(part.width * part.height * 3)
        var at = 0
        for (row in part.y until part.y + part.height) {
            for (column in part.x until part.x + part.width) {
                val light = y.at(row, column) shl SHIFT
                val blue = u.at(row / 2, column / 2) - 128
                val red = v.at(row / 2, column / 2) - 128
                rgb[at++] = byte(light + 91881 * red) // 1.402
                rgb[at++] = byte(light - 22554 * blue - 46802 * red) // 0.344136, 0.714136
                rgb[at++] = byte(light + 116130 * blue) // 1.772
            }
        }
        return RgbImage(part.width, part.height, rgb)
    }

    private fun Plane.at(row: Int, column: Int): Int =
        bytes.get(row * rowStride + column * pixelStride).toInt() and 0xFF

    private fun byte(value: Int): Byte = ((value + HALF) shr SHIFT).coerceIn(0, 255).toByte()

    private companion object {
        const val SHIFT = 16
        const val HALF = 1 shl 15
    }
}
