package phantom.edge.ar

import android.view.MotionEvent
import android.view.ScaleGestureDetector
import android.view.View
import phantom.edge.ar.core.Point

/**
 * What fingers do on a picture: a tap points, two that move apart or together ask for more or less of it. [onPinch]
 * hears by which factor so far, and whether they are lifted.
 */
class Touches(
    view: View,
    private val onTap: (Point) -> Unit,
    private val onPinch: (factor: Double, isOver: Boolean) -> Unit,
) : ScaleGestureDetector.SimpleOnScaleGestureListener(), View.OnTouchListener {
    private val detector = ScaleGestureDetector(view.context, this)
    private var factor = 1.0
    private var isPinch = false

    override fun onTouch(touched: View, event: MotionEvent): Boolean {
        if (event.action == MotionEvent.ACTION_DOWN) isPinch = false
        detector.onTouchEvent(event)
        if (event.action == MotionEvent.ACTION_UP && !isPinch) {
            touched.performClick()
            onTap(Point(event.x.toDouble(), event.y.toDouble()))
        }
        return true
    }

    override fun onScaleBegin(detector: ScaleGestureDetector): Boolean {
        isPinch = true
        factor = 1.0
        return true
    }

    override fun onScale(detector: ScaleGestureDetector): Boolean {
        factor *= detector.scaleFactor
        onPinch(factor, false)
        return true
    }

    override fun onScaleEnd(detector: ScaleGestureDetector) = onPinch(factor, true)
}
