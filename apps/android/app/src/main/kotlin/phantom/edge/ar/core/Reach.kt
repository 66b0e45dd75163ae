package phantom.edge.ar.core

import kotlin.math.roundToInt
import phantom.edge.core.Crop

/** How much of the picture the model looks at: a square around the pin, or the largest one that can be seen. */
class Reach private constructor(val size: Double, val isWhole: Boolean) {
    /** As two fingers that move apart, or together, make it. */
    fun scaled(factor: Double): Reach = of(size * factor)

    /** The square's side over the shorter side of what can be seen, in percent. */
    val percent: Int
        get() = (100 * size).roundToInt()

    /** What a screen reader says of it. */
    val words: String
        get() = if (isWhole) Phrase.REACH_WHOLE.text() else Phrase.REACH_SHARE.text("$percent %")

    override fun equals(other: Any?) = other is Reach && size == other.size && isWhole == other.isWhole

    override fun hashCode() = 31 * size.hashCode() + isWhole.hashCode()

    override fun toString() = words

    companion object {
        /** Sizes beyond [Crop.SIZES] become its ends. */
        fun of(size: Double = Crop.DEFAULT_SIZE, isWhole: Boolean = false) = Reach(size.coerceIn(Crop.SIZES), isWhole)
    }
}
