package phantom.edge.core

import kotlin.math.floor

/**
 * A square of a picture, in whole pixels from its left and its top: what the model looks at where someone points. One
 * rule in every language.
 */
data class Crop(val left: Int, val top: Int, val side: Int) {
    companion object {
        /** The square's side over the picture's shorter side. */
        const val DEFAULT_SIZE = 0.4
        val SIZES = 0.1..1.0

        /**
         * The square around a point of a picture of this size, moved into it where the point is near an edge.
         *
         * [x] and [y] are 0 to 1 from the left and the top, [size] is one of [SIZES]. Throws [InputException] for
         * numbers beyond that, NaN too.
         */
        fun around(x: Double, y: Double, size: Double = DEFAULT_SIZE, width: Int, height: Int): Crop {
            if (!(x in 0.0..1.0 && y in 0.0..1.0)) {
                throw InputException("the point $x, $y is outside of the picture: give 0 to 1 for both")
            }
            if (size !in SIZES) {
                throw InputException("the crop's size is $size: give 0.1 to 1 of the picture's shorter side")
            }
            if (width < 1 || height < 1) {
                throw InputException("a picture of ${width}x$height has no pixels: give another one")
            }
            val side = maxOf(1, floor(size * minOf(width, height) + 0.5).toInt())
            return Crop(place(x, side, width), place(y, side, height), side)
        }

        /** Where the square begins along one axis. */
        private fun place(point: Double, side: Int, length: Int): Int =
            floor(point * length - side / 2.0 + 0.5).toInt().coerceIn(0, length - side)
    }
}
