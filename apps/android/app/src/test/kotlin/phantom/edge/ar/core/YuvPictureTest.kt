package phantom.edge.ar.core

import java.nio.ByteBuffer
import kotlin.math.abs
import kotlin.math.roundToInt
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

class YuvPictureTest {
    /** Against the formula of JFIF in floating point, for planes as phones give them: padded rows, U and V interleaved. */
    @Test
    fun aPartIsConverted() {
        val (width, height, rowStride) = Triple(16, 12, 24)
        val dice = Random(5)
        val y = ByteArray(rowStride * height).also(dice::nextBytes)
        val uv = ByteArray(rowStride * height / 2).also(dice::nextBytes)
        val picture =
            YuvPicture(
                YuvPicture.Plane(ByteBuffer.wrap(y), rowStride, 1),
                YuvPicture.Plane(ByteBuffer.wrap(uv), rowStride, 2),
                YuvPicture.Plane(ByteBuffer.wrap(uv, 1, uv.size - 1).slice(), rowStride, 2),
            )
        val part = PixelRect(5, 3, 9, 8) // a camera's colours come in pairs of pixels, a part need not
        val cut = picture.cut(part)
        assertTrue(part.x + part.width <= width && part.y + part.height <= height)
        for (row in 0 until part.height) {
            for (column in 0 until part.width) {
                val (r, c) = row + part.y to column + part.x
                val light = (y[r * rowStride + c].toInt() and 255).toDouble()
                val blue = (uv[r / 2 * rowStride + c / 2 * 2].toInt() and 255) - 128.0
                val red = (uv[r / 2 * rowStride + c / 2 * 2 + 1].toInt() and 255) - 128.0
                val expected =
                    listOf(light + 1.402 * red, light - 0.344136 * blue - 0.714136 * red, light + 1.772 * blue)
                for ((channel, value) in expected.withIndex()) {
                    val pixel = cut.pixels[(row * part.width + column) * 3 + channel].toInt() and 255
                    assertTrue(abs(pixel - value.roundToInt().coerceIn(0, 255)) <= 1, "$row $column $channel")
                }
            }
        }
        assertEquals(part.width to part.height, cut.width to cut.height)
    }
}
