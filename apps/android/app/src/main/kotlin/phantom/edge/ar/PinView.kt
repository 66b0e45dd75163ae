package phantom.edge.ar

import android.graphics.Bitmap
import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.FrameLayout
import android.widget.ImageView
import android.widget.TextView
import phantom.edge.ar.core.Frame
import phantom.edge.ar.core.LabelText
import phantom.edge.ar.core.Point
import phantom.edge.ar.core.Size
import phantom.edge.core.RgbImage

/** A pin and its label, beside a point of the stage. */
class PinView(private val parent: ViewGroup) {
    private val density = parent.resources.displayMetrics.density
    private val label = LayoutInflater.from(parent.context).inflate(R.layout.label, parent, false)
    private val dot = View(parent.context)
    private var hasText = false
    private var frame: Frame? = null

    init {
        dot.setBackgroundResource(R.drawable.pin)
        dot.importantForAccessibility = View.IMPORTANT_FOR_ACCESSIBILITY_NO
        val side = (DOT * density).toInt()
        parent.addView(dot, FrameLayout.LayoutParams(side, side))
        parent.addView(label)
        place(null, Size(0.0, 0.0))
    }

    fun show(text: LabelText) {
        hasText = text.question.isNotEmpty()
        label.text(R.id.label_question, text.question)
        label.text(R.id.label_answer, text.answer)
        label.text(R.id.label_note, text.verdict.note)
        label.visible(R.id.label_note, text.verdict.note.isNotEmpty())
        if (text.frame !== frame) {
            frame = text.frame
            label.findViewById<ImageView>(R.id.label_picture).setImageBitmap(text.frame?.thumbnail?.bitmap())
        }
        val answer = label.findViewById<TextView>(R.id.label_answer)
        answer.maxLines = if (text.verdict.note.isEmpty()) LINES else LINES - 1
        answer.setTextColor(label.context.getColor(if (text.verdict.isSure) R.color.ink else R.color.warn))
        if (!hasText) label.visibility = View.INVISIBLE
    }

    /**
     * Below the point, or above where there is more room; null hides it. Its place does not depend on what it says, so
     * text that streams in moves nothing.
     */
    fun place(point: Point?, stage: Size) {
        dot.visibility = if (point == null) View.INVISIBLE else View.VISIBLE
        label.visibility = if (point == null || !hasText) View.INVISIBLE else View.VISIBLE
        if (point == null) return
        dot.translationX = point.x.toFloat() - dot.layoutParams.width / 2f
        dot.translationY = point.y.toFloat() - dot.layoutParams.height / 2f
        val (width, height) = label.layoutParams.width.toFloat() to label.layoutParams.height.toFloat()
        val (margin, gap) = MARGIN * density to GAP * density
        val below = point.y + gap + height + margin < stage.height - FOOT * density
        val left = (point.x - width / 2).coerceIn(margin.toDouble(), maxOf(margin.toDouble(), stage.width - width - margin))
        label.translationX = left.toFloat()
        label.translationY = (if (below) point.y + gap else maxOf(point.y - gap - height, BAR * density.toDouble())).toFloat()
    }

    fun remove() {
        parent.removeView(dot)
        parent.removeView(label)
    }

    private companion object {
        const val DOT = 20 // dp, as the others
        const val MARGIN = 12
        const val GAP = 24
        const val LINES = 3 // of the answer, with that of its note
        const val BAR = 62.0 // the bar at the top stays free
        const val FOOT = 64 // and that at the bottom
    }
}

/** The same pixels for the screen. */
private fun RgbImage.bitmap(): Bitmap {
    fun part(place: Int) = pixels[place].toInt() and 0xFF
    val colours =
        IntArray(width * height) { 0xFF shl 24 or (part(3 * it) shl 16) or (part(3 * it + 1) shl 8) or part(3 * it + 2) }
    return Bitmap.createBitmap(colours, width, height, Bitmap.Config.ARGB_8888)
}
