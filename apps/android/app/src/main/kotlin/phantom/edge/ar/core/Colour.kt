package phantom.edge.ar.core

import kotlin.math.pow

/** Whether dark text is read better on a colour, 0xRRGGBB, than white text: by its luminance, as WCAG 2 defines it. */
fun isLight(colour: Int): Boolean {
    fun linear(shift: Int): Double {
        val part = (colour shr shift and 0xFF) / 255.0
        return if (part <= 0.04045) part / 12.92 else ((part + 0.055) / 1.055).pow(2.4)
    }
    return 0.2126 * linear(16) + 0.7152 * linear(8) + 0.0722 * linear(0) > 0.179
}
