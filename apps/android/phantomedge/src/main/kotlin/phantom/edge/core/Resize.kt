package phantom.edge.core

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

/**
 * Resized with Pillow's bicubic filter, byte for byte: antialiased, in its fixed-point arithmetic, rows before columns.
 * The same picture gives the same tiles here and where the model was checked.
 */
fun RgbImage.resized(newWidth: Int, newHeight: Int): RgbImage {
    var result = pixels
    if (newWidth != width) result = Bicubic(width, newWidth).horizontally(result, height)
    if (newHeight != height) result = Bicubic(height, newHeight).vertically(result, newWidth)
    return RgbImage.unchecked(newWidth, newHeight, result)
}

/** The weights of one axis, as in Pillow's `Resample.c`: for each output the first input and the weights from there. */
private class Bicubic(private val input: Int, private val output: Int) {
    private val starts = IntArray(output)
    private val weights: Array<IntArray>

    init {
        val scale = input.toDouble() / output
        val stretch = max(scale, 1.0)
        val support = SUPPORT * stretch
        weights =
            Array(output) { place ->
                val centre = (place + 0.5) * scale
                val first = max((centre - support + 0.5).toInt(), 0)
                val end = min((centre + support + 0.5).toInt(), input)
                val exact = DoubleArray(end - first) { curve((it + first - centre + 0.5) * (1.0 / stretch)) }
                var sum = 0.0
                for (weight in exact) sum += weight
                starts[place] = first
                IntArray(exact.size) { fixed(if (sum != 0.0) exact[it] / sum else exact[it]) }
            }
    }

    /** `[rows, input, 3]` to `[rows, output, 3]`. */
    fun horizontally(pixels: ByteArray, rows: Int): ByteArray {
        val result = ByteArray(rows * output * 3)
        for (row in 0 until rows) {
            for (place in 0 until output) {
                val own = weights[place]
                for (channel in 0 until 3) {
                    var at = (row * input + starts[place]) * 3 + channel
                    var sum = HALF
                    for (weight in own) {
                        sum += weight * (pixels[at].toInt() and 0xFF)
                        at += 3
                    }
                    result[(row * output + place) * 3 + channel] = pixel(sum)
                }
            }
        }
        return result
    }

    /** `[input, columns, 3]` to `[output, columns, 3]`. */
    fun vertically(pixels: ByteArray, columns: Int): ByteArray {
        val stride = columns * 3
        val result = ByteArray(output * stride)
        for (place in 0 until output) {
            val own = weights[place]
            for (column in 0 until stride) {
                var at = starts[place] * stride + column
                var sum = HALF
                for (weight in own) {
                    sum += weight * (pixels[at].toInt() and 0xFF)
                    at += stride
                }
                result[place * stride + column] = pixel(sum)
            }
        }
        return result
    }

    private companion object {
        const val PRECISION = 22 // 32 bits, less 8 of the pixel and 2 for what overshoots
        const val HALF = 1 shl PRECISION - 1
        const val SUPPORT = 2.0
        const val SHARPNESS = -0.5

        fun curve(signed: Double): Double {
            val x = abs(signed)
            return when {
                x < 1 -> ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1
                x < 2 -> (((x - 5) * x + 8) * x - 4) * SHARPNESS
                else -> 0.0
            }
        }

        fun fixed(weight: Double): Int = (weight * (1 shl PRECISION) + if (weight < 0) -0.5 else 0.5).toInt()

        fun pixel(sum: Int): Byte = (sum shr PRECISION).coerceIn(0, 255).toByte()
    }
}
