package phantom.edge.ar

import android.view.View
import android.view.ViewGroup
import android.widget.FrameLayout
import phantom.edge.ar.core.Point
import phantom.edge.ar.core.Size

/** The place where a source shows its picture, with pins and their labels above it. Main thread only. */
class Stage(private val root: View) {
    private val place = root.findViewById<FrameLayout>(R.id.source)
    private val labels = root.findViewById<ViewGroup>(R.id.labels)
    private val finder = root.findViewById<View>(R.id.finder)

    val size: Size
        get() = Size(place.width.toDouble(), place.height.toDouble())

    /** Another source's view takes the place of the one before, and its pins go. */
    fun use(view: View?) {
        place.removeAllViews()
        labels.removeAllViews()
        finder.visibility = View.GONE
        view?.let { place.addView(it, FrameLayout.LayoutParams(MATCH, MATCH)) }
    }

    fun addPin() = PinView(labels)

    /** The part that the model sees. */
    fun showFinder(corner: Point, size: Size) {
        val (across, down) = size.width.toInt() to size.height.toInt()
        if (finder.layoutParams.width != across || finder.layoutParams.height != down) {
            finder.layoutParams = finder.layoutParams.apply {
                width = across
                height = down
            }
        }
        finder.translationX = corner.x.toFloat()
        finder.translationY = corner.y.toFloat()
        finder.visibility = View.VISIBLE
    }

    private companion object {
        const val MATCH = ViewGroup.LayoutParams.MATCH_PARENT
    }
}
