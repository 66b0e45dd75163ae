package phantom.edge.ar

import android.graphics.Bitmap
import androidx.activity.ComponentActivity
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.core.UseCaseGroup
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicReference
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull
import phantom.edge.ar.core.AppModel
import phantom.edge.ar.core.Failure
import phantom.edge.ar.core.Framing
import phantom.edge.ar.core.Phrase
import phantom.edge.ar.core.PixelRect
import phantom.edge.ar.core.Size
import phantom.edge.ar.core.SourceKind
import phantom.edge.core.RgbImage
import phantom.edge.of

/** The plain camera, for phones without AR and for whoever prefers it. A frame is only looked at when one is wanted. */
class CameraSource(
    private val activity: ComponentActivity,
    stage: Stage,
    model: AppModel,
    private val onFailure: (Failure) -> Unit,
) : FlatSource(stage, model) {
    override val kind = SourceKind.CAMERA
    override val view = PreviewView(activity).apply { scaleType = PreviewView.ScaleType.FILL_CENTER }
    private val executor = Executors.newSingleThreadExecutor()
    private val request = AtomicReference<CompletableDeferred<Bitmap?>?>()
    private var provider: ProcessCameraProvider? = null
    private var isClosed = false

    fun start() {
        val coming = ProcessCameraProvider.getInstance(activity)
        coming.addListener({ if (!isClosed) bind { coming.get() } }, ContextCompat.getMainExecutor(activity))
    }

    /** Frames are cut to what the preview shows, so the picture is the stage's own shape. */
    override fun framing(stage: Size) = Framing(stage, stage, Framing.Fit.COVER)

    override suspend fun cut(framing: Framing, part: PixelRect): RgbImage? {
        val answer = CompletableDeferred<Bitmap?>()
        request.getAndSet(answer)?.complete(null)
        val seen = withTimeoutOrNull(PATIENCE) { answer.await() } ?: return null
        return withContext(Dispatchers.Default) {
            val scale = seen.width / framing.picture.width
            val width = (part.width * scale).toInt().coerceIn(1, seen.width)
            val height = (part.height * scale).toInt().coerceIn(1, seen.height)
            val x = (part.x * scale).toInt().coerceIn(0, seen.width - width)
            val y = (part.y * scale).toInt().coerceIn(0, seen.height - height)
            RgbImage.of(Bitmap.createBitmap(seen, x, y, width, height))
        }
    }

    /** The phone is held another way: frames are to come upright for that. */
    fun turned() {
        view.post { if (!isClosed) provider?.let { bind { it } } }
    }

    override fun close() {
        isClosed = true
        provider?.unbindAll()
        request.getAndSet(null)?.complete(null)
        executor.shutdown()
        super.close()
    }

    private fun bind(find: () -> ProcessCameraProvider) {
        try {
            val camera = find().also { provider = it }
            val selector =
                listOf(CameraSelector.DEFAULT_BACK_CAMERA, CameraSelector.DEFAULT_FRONT_CAMERA)
                    .firstOrNull { camera.hasCamera(it) }
                    ?: throw Failure(Failure.Code.NO_CAMERA, Phrase.CAMERA_MISSING.text())
            camera.unbindAll()
            camera.bindToLifecycle(activity, selector, useCases())
        } catch (failure: Failure) {
            onFailure(failure)
        } catch (error: Exception) { // CameraX wraps whatever the phone's driver says
            onFailure(Failure(Failure.Code.CAMERA_BUSY, Phrase.CAMERA_SHUT.text()))
        }
    }

    private fun useCases(): UseCaseGroup {
        val preview = Preview.Builder().build().also { it.setSurfaceProvider(view.surfaceProvider) }
        val analysis =
            ImageAnalysis.Builder()
                .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
                .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                .setOutputImageRotationEnabled(true)
                .build()
        analysis.setAnalyzer(executor) { image -> image.use(::look) }
        val group = UseCaseGroup.Builder().addUseCase(preview).addUseCase(analysis)
        view.viewPort?.let(group::setViewPort)
        return group.build()
    }

    private fun look(image: ImageProxy) {
        val answer = request.getAndSet(null) ?: return
        val (whole, part) = image.toBitmap() to image.cropRect
        answer.complete(Bitmap.createBitmap(whole, part.left, part.top, part.width(), part.height()))
    }

    private companion object {
        const val PATIENCE = 1000L // milliseconds for a frame
    }
}
