package phantom.edge.ar

import android.annotation.SuppressLint
import android.app.Activity
import android.opengl.GLES20
import android.opengl.GLSurfaceView
import android.opengl.Matrix
import com.google.ar.core.Anchor
import com.google.ar.core.Camera
import com.google.ar.core.CameraConfigFilter
import com.google.ar.core.Config
import com.google.ar.core.Frame as ArFrame
import com.google.ar.core.Plane
import com.google.ar.core.Pose
import com.google.ar.core.Session
import com.google.ar.core.TrackingState
import com.google.ar.core.exceptions.CameraNotAvailableException
import com.google.ar.core.exceptions.SessionPausedException
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.atomic.AtomicReference
import javax.microedition.khronos.egl.EGLConfig
import javax.microedition.khronos.opengles.GL10
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull
import phantom.edge.ar.core.AppModel
import phantom.edge.ar.core.Failure
import phantom.edge.ar.core.Frame
import phantom.edge.ar.core.LabelText
import phantom.edge.ar.core.Phrase
import phantom.edge.ar.core.PictureSource
import phantom.edge.ar.core.Place
import phantom.edge.ar.core.Point
import phantom.edge.ar.core.Projection
import phantom.edge.ar.core.Reach
import phantom.edge.ar.core.Size
import phantom.edge.ar.core.SourceKind

/**
 * AR: answers pinned in the room. A tap, or the ray from the centre, places a pin; the model sees the picture around the
 * newest pin, as far as [reach] says, first in the frame of the tap. ARCore and OpenGL work on the view's own thread, labels are ordinary views
 * that follow their pins.
 *
 * The constructor throws `UnavailableException` where ARCore does not start.
 */
class ArSource(
    private val activity: Activity,
    private val stage: Stage,
    private val scope: CoroutineScope,
    private val model: AppModel,
    private val onFailure: (Failure) -> Unit,
) : PictureSource, GLSurfaceView.Renderer {
    /** One pin; the anchor belongs to the drawing thread, the view to the main one. */
    private class Pin(val anchor: Anchor, var view: PinView? = null)

    override val kind = SourceKind.AR
    private val session = Session(activity)
    private val background = CameraBackground()
    private val view = GLSurfaceView(activity)
    private val taps = ConcurrentLinkedQueue<Point>()
    private val request = AtomicReference<CompletableDeferred<Snapshot?>?>()
    private val moment = AtomicReference<Snapshot?>()
    private val pins = ArrayList<Pin>() // drawing thread
    private var newest: PinView? = null // main thread, as all below
    private var frozen: Frame? = null
    private var isFrozen = false
    private var isRunning = false
    private var isClosed = false

    @Volatile private var hasPins = false

    @Volatile override var reach = Reach.of() // set on the main thread, used on the drawing one

    init {
        configure()
        view.preserveEGLContextOnPause = true
        view.setEGLContextClientVersion(2)
        view.setEGLConfigChooser(8, 8, 8, 8, 16, 0)
        view.setRenderer(this)
        view.contentDescription = activity.getString(R.string.stage)
    }

    @SuppressLint("ClickableViewAccessibility") // a button pins at the centre
    fun open() {
        stage.use(view)
        view.setOnTouchListener(Touches(view, taps::add, model::pinch))
    }

    fun resume() {
        if (isRunning || isClosed) return
        try {
            session.resume()
        } catch (error: CameraNotAvailableException) {
            return onFailure(Failure(Failure.Code.CAMERA_BUSY, Phrase.CAMERA_IN_USE.text()))
        }
        view.onResume()
        isRunning = true
    }

    fun pause() {
        if (!isRunning) return
        isRunning = false
        view.onPause() // first: drawing needs a session that runs
        session.pause()
    }

    fun pinAtCentre() {
        val size = stage.size
        taps.add(Point(size.width / 2, size.height / 2))
    }

    private fun configure() {
        session.configure(
            session.config.apply {
                focusMode = Config.FocusMode.AUTO
                planeFindingMode = Config.PlaneFindingMode.HORIZONTAL_AND_VERTICAL
                updateMode = Config.UpdateMode.LATEST_CAMERA_IMAGE
            },
        )
        // By default the picture for the processor has 640x480 pixels.
        val configs = session.getSupportedCameraConfigs(CameraConfigFilter(session))
        val fine = configs.filter { minOf(it.imageSize.width, it.imageSize.height) <= MOST_PIXELS }
        fine.maxByOrNull { it.imageSize.width * it.imageSize.height }?.let { session.cameraConfig = it }
    }

    // --- PictureSource, on the main thread

    override val hint: String
        get() = (if (hasPins) Phrase.AIM_AT_PIN else Phrase.TAP_SURFACE).text()

    override suspend fun grab(): Frame? {
        frozen?.let { if (isFrozen) return it }
        val seen = moment.getAndSet(null) ?: request() ?: return null
        return withContext(Dispatchers.Default) { Frame(seen.image()) }.also { frozen = it }
    }

    override fun freeze() {
        isFrozen = true
    }

    override fun thaw() {
        isFrozen = false
    }

    override fun show(label: LabelText) {
        newest?.show(label)
    }

    override fun close() {
        pause()
        isClosed = true
        request.getAndSet(null)?.complete(null)
        session.close()
    }

    private suspend fun request(): Snapshot? {
        val answer = CompletableDeferred<Snapshot?>()
        request.getAndSet(answer)?.complete(null)
        return withTimeoutOrNull(PATIENCE) { answer.await() }
    }

    // --- GLSurfaceView.Renderer, on the view's own thread

    override fun onSurfaceCreated(gl: GL10?, config: EGLConfig?) {
        GLES20.glClearColor(0f, 0f, 0f, 1f)
        background.create()
        session.setCameraTextureName(background.texture)
    }

    override fun onSurfaceChanged(gl: GL10?, width: Int, height: Int) {
        GLES20.glViewport(0, 0, width, height)
        @Suppress("DEPRECATION") // the display of a view is known only once it is attached
        session.setDisplayGeometry(activity.windowManager.defaultDisplay.rotation, width, height)
    }

    override fun onDrawFrame(gl: GL10?) {
        GLES20.glClear(GLES20.GL_COLOR_BUFFER_BIT or GLES20.GL_DEPTH_BUFFER_BIT)
        val frame =
            try {
                session.update()
            } catch (error: SessionPausedException) {
                return
            } catch (error: CameraNotAvailableException) {
                scope.launch { onFailure(Failure(Failure.Code.CAMERA_BUSY, Phrase.CAMERA_TAKEN.text())) }
                return
            }
        background.draw(frame)
        if (frame.camera.trackingState != TrackingState.TRACKING) return
        val projection = projection(frame.camera)
        taps.poll()?.let { place(it, frame, projection) }
        val points = pins.map { projection.toStage(it.anchor.pose.place()) }
        val now = pins.toList()
        scope.launch { now.zip(points) { pin, point -> pin.view?.place(point, stage.size) } }
        answer(points.lastOrNull(), frame)
    }

    /** Puts a pin where the ray through a point of the view hits; the one before keeps its answer. */
    private fun place(point: Point, frame: ArFrame, projection: Projection) {
        val hit =
            frame.hitTest(point.x.toFloat(), point.y.toFloat()).firstOrNull {
                val on = it.trackable
                on !is Plane || on.isPoseInPolygon(it.hitPose)
            }
        val anchor =
            hit?.createAnchor()
                ?: projection.along(point, WITHOUT_SURFACE).let { (x, y, z) ->
                    session.createAnchor(Pose.makeTranslation(x.toFloat(), y.toFloat(), z.toFloat()))
                }
        moment.set(Snapshot.of(frame, point, size(), reach))
        val pin = Pin(anchor)
        pins += pin
        val gone = if (pins.size > MOST_PINS) pins.removeAt(0).also { it.anchor.detach() } else null
        hasPins = true
        scope.launch {
            gone?.view?.remove()
            newest = stage.addPin().also { pin.view = it }
            thaw()
            model.aimed()
        }
    }

    /** Gives whoever waits the frame, if it shows the newest pin. */
    private fun answer(point: Point?, frame: ArFrame) {
        if (point == null || request.get() == null) return
        val seen = Snapshot.of(frame, point, size(), reach) ?: return
        request.getAndSet(null)?.complete(seen)
    }

    private fun projection(camera: Camera): Projection {
        val (perspective, pose) = FloatArray(16) to FloatArray(16)
        camera.getProjectionMatrix(perspective, 0, NEAR, FAR)
        camera.getViewMatrix(pose, 0)
        val (matrix, inverse) = FloatArray(16) to FloatArray(16)
        Matrix.multiplyMM(matrix, 0, perspective, 0, pose, 0)
        Matrix.invertM(inverse, 0, matrix, 0)
        return Projection(matrix, inverse, size())
    }

    private fun size() = Size(view.width.toDouble(), view.height.toDouble())

    private fun Pose.place() = Place(tx().toDouble(), ty().toDouble(), tz().toDouble())

    private companion object {
        const val MOST_PINS = 8
        const val MOST_PIXELS = 1080 // of the shorter side: more takes time and the model sees a tile anyway
        const val WITHOUT_SURFACE = 0.8 // metres along the ray, where no surface was found
        const val NEAR = 0.05f
        const val FAR = 100f
        const val PATIENCE = 300L // milliseconds for a frame that shows the pin
    }
}
