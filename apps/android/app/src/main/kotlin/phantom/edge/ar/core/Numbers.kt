package phantom.edge.ar.core

import java.util.Locale
import kotlin.math.roundToInt

/** Numbers as people read them. */
object Numbers {
    fun seconds(value: Double): String = if (value < 9.95) "%.2f s".of(value) else "${value.roundToInt()} s"

    fun megabytes(bytes: Long): String {
        val size = bytes / 1e6
        return if (size < 9.95) "%.1f MB".of(size) else "${size.roundToInt()} MB"
    }

    fun perSecond(rate: Double): String = if (rate < 9.95) "%.1f tok/s".of(rate) else "${rate.roundToInt()} tok/s"

    fun measured(value: Double): String = "%.2g".of(value)

    private fun String.of(value: Double): String = String.format(Locale.ROOT, this, value)
}
