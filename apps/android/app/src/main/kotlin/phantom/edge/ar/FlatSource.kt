package phantom.edge.ar

import android.view.View
import phantom.edge.ar.core.AppModel
import phantom.edge.ar.core.Frame
import phantom.edge.ar.core.Framing
import phantom.edge.ar.core.LabelText
import phantom.edge.ar.core.PictureSource
import phantom.edge.ar.core.PixelRect
import phantom.edge.ar.core.Point
import phantom.edge.ar.core.Reach
import phantom.edge.ar.core.Size
import phantom.edge.core.RgbImage

/** A flat picture with a pin on it: the plain camera, or a picture of the user's. */
abstract class FlatSource(private val stage: Stage, private val model: AppModel) : PictureSource {
    protected abstract val view: View

    /** The picture on the stage; null while there is none. */
    protected abstract fun framing(stage: Size): Framing?

    protected abstract suspend fun cut(framing: Framing, part: PixelRect): RgbImage?

    /** Whether a part of it always has the same pixels. */
    protected open val isStill = false

    override val hint: String? = null
    override var reach = Reach.of()

    /** What the viewfinder shows, which is what the model looks at unless fingers are about to change it. */
    var shownReach = Reach.of()
        set(value) {
            field = value
            layout()
        }

    /** In parts of the picture's width and height, so that it survives a turn of the phone. */
    private var at = Point(0.5, 0.42)
    private var last: Pair<PixelRect, Frame>? = null
    private var isFrozen = false
    private var pin: PinView? = null

    fun open() {
        stage.use(view)
        pin = stage.addPin()
        view.setOnTouchListener(Touches(view, ::aim, model::pinch))
        view.addOnLayoutChangeListener { _, _, _, _, _, _, _, _, _ -> layout() }
    }

    override suspend fun grab(): Frame? {
        last?.let { (_, frame) -> if (isFrozen) return frame }
        val framing = current() ?: return null
        val part = framing.part(pinIn(framing), reach)
        last?.let { (before, frame) -> if (isStill && before == part) return frame }
        layout()
        val frame = cut(framing, part)?.let(::Frame) ?: return null
        last = part to frame
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
        val part = framing.part(centre, shownReach)
        stage.showFinder(framing.toStage(Point(part.x.toDouble(), part.y.toDouble())), framing.sizeOnStage(part))
        pin?.place(framing.toStage(centre), stage.size)
    }

    private fun aim(point: Point) {
        val framing = current() ?: return
        val there = framing.toPicture(point)
        at = Point(there.x / framing.picture.width, there.y / framing.picture.height)
        isFrozen = false
        pin?.show(LabelText())
        layout()
        model.aimed()
    }

    private fun current(): Framing? = stage.size.takeIf { it.width > 0 && it.height > 0 }?.let(::framing)

    /** The pin in picture pixels, kept on the visible part. */
    private fun pinIn(framing: Framing): Point =
        framing.toPicture(framing.toStage(Point(at.x * framing.picture.width, at.y * framing.picture.height)))
}
