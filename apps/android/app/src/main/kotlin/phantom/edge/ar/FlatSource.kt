package phantom.edge.ar

import android.view.MotionEvent
import android.view.View
import phantom.edge.ar.core.Frame
import phantom.edge.ar.core.Framing
import phantom.edge.ar.core.LabelText
import phantom.edge.ar.core.PictureSource
import phantom.edge.ar.core.Point
import phantom.edge.ar.core.Size
import phantom.edge.ar.core.Square
import phantom.edge.core.RgbImage

/** A flat picture with a pin on it: the plain camera, or a picture of the user's. */
abstract class FlatSource(private val stage: Stage, private val onAim: () -> Unit) : PictureSource {
    protected abstract val view: View

    /** The picture on the stage; null while there is none. */
    protected abstract fun framing(stage: Size): Framing?

    protected abstract suspend fun cut(framing: Framing, square: Square): RgbImage?

    /** Whether a square of it always has the same pixels. */
    protected open val isStill = false

    override val hint: String? = null

    /** In parts of the picture's width and height, so that it survives a turn of the phone. */
    private var at = Point(0.5, 0.42)
    private var last: Pair<Square, Frame>? = null
    private var isFrozen = false
    private var pin: PinView? = null

    fun open() {
        stage.use(view)
        pin = stage.addPin()
        view.setOnTouchListener { touched, event ->
            if (event.action == MotionEvent.ACTION_UP) {
                touched.performClick()
                aim(Point(event.x.toDouble(), event.y.toDouble()))
            }
            true
        }
        view.addOnLayoutChangeListener { _, _, _, _, _, _, _, _, _ -> layout() }
    }

    override suspend fun grab(): Frame? {
        last?.let { (_, frame) -> if (isFrozen) return frame }
        val framing = current() ?: return null
        val square = framing.square(pinIn(framing))
        last?.let { (before, frame) -> if (isStill && before == square) return frame }
        layout()
        val frame = cut(framing, square)?.let(::Frame) ?: return null
        last = square to frame
        return frame
    }

    override fun freeze() {
        isFrozen = true
    }

    override fun thaw() {
        isFrozen = false
    }

    override fun show(label: LabelText) {
        pin?.show(label)
        layout()
    }

    override fun close() {
        view.setOnTouchListener(null)
    }

    /** Puts pin, label and viewfinder where they belong. */
    fun layout() {
        val framing = current() ?: return
        val centre = pinIn(framing)
        val square = framing.square(centre)
        stage.showFinder(framing.toStage(Point(square.x.toDouble(), square.y.toDouble())), framing.sideOnStage(square))
        pin?.place(framing.toStage(centre), stage.size)
    }

    private fun aim(point: Point) {
        val framing = current() ?: return
        val there = framing.toPicture(point)
        at = Point(there.x / framing.picture.width, there.y / framing.picture.height)
        isFrozen = false
        pin?.show(LabelText())
        layout()
        onAim()
    }

    private fun current(): Framing? = stage.size.takeIf { it.width > 0 && it.height > 0 }?.let(::framing)

    /** The pin in picture pixels, kept on the visible part. */
    private fun pinIn(framing: Framing): Point =
        framing.toPicture(framing.toStage(Point(at.x * framing.picture.width, at.y * framing.picture.height)))
}
