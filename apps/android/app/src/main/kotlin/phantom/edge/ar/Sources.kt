package phantom.edge.ar

import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Build
import android.provider.MediaStore
import com.google.ar.core.ArCoreApk
import com.google.ar.core.exceptions.UnavailableException
import java.io.IOException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import phantom.edge.ar.core.AppModel
import phantom.edge.ar.core.Failure
import phantom.edge.ar.core.Phrase
import phantom.edge.ar.core.PictureSource
import phantom.edge.ar.core.Reach

/** Which source is open: AR where the phone has it, else the plain camera, or a picture of the user's. */
class Sources(
    private val activity: MainActivity,
    private val model: AppModel,
    private val stage: Stage,
    private val scope: CoroutineScope,
    private val isFake: Boolean,
) {
    private var current: PictureSource? = null
    private var isInstalling = false
    private var hasAsked = false

    var canUseAr = false
        private set

    /** The best source of this phone. */
    fun openBest() {
        if (isFake) return use(StillSource(activity, StillSource.drawnScene(), stage, model))
        activity.withCamera { allowed -> if (allowed) scope.launch { openArOrCamera() } else refused() }
    }

    fun openCamera() {
        activity.withCamera { allowed ->
            if (!allowed) return@withCamera refused()
            val camera = CameraSource(activity, stage, model, ::failed)
            use(camera)
            camera.start()
        }
    }

    fun openPicture(address: Uri) {
        scope.launch {
            val picture = withContext(Dispatchers.IO) { decoded(address) }
            if (picture == null) {
                failed(Failure(Failure.Code.PICTURE, Phrase.PICTURE_UNREADABLE.text()))
            } else {
                use(StillSource(activity, picture, stage, model))
            }
        }
    }

    /** What the viewfinder shows. */
    fun show(reach: Reach) {
        (current as? FlatSource)?.let { if (it.shownReach != reach) it.shownReach = reach }
    }

    fun pinAtCentre() {
        (current as? ArSource)?.pinAtCentre()
    }

    fun resume() {
        (current as? ArSource)?.resume()
        if (isInstalling) {
            isInstalling = false
            openBest()
        }
    }

    fun pause() {
        (current as? ArSource)?.pause()
    }

    fun turned() {
        (current as? CameraSource)?.turned()
    }

    private suspend fun openArOrCamera() {
        var availability = ArCoreApk.getInstance().checkAvailability(activity)
        repeat(TRIES) {
            if (!availability.isTransient) return@repeat
            delay(PATIENCE)
            availability = ArCoreApk.getInstance().checkAvailability(activity)
        }
        canUseAr = availability.isSupported
        if (!canUseAr || !installed()) return openCamera()
        try {
            val source = ArSource(activity, stage, scope, model, ::failed)
            use(source)
            source.resume()
        } catch (error: UnavailableException) {
            openCamera()
        }
    }

    /** Whether Google Play Services for AR is there now; the user is asked once for what is missing. */
    private fun installed(): Boolean =
        try {
            val status = ArCoreApk.getInstance().requestInstall(activity, !hasAsked)
            hasAsked = true
            isInstalling = status == ArCoreApk.InstallStatus.INSTALL_REQUESTED
            !isInstalling
        } catch (error: UnavailableException) { // declined, or not for this phone
            canUseAr = false
            false
        }

    private fun use(source: PictureSource) {
        current = source
        model.use(source)
        (source as? FlatSource)?.open()
        show(model.state.value.shownReach)
        (source as? ArSource)?.open()
    }

    private fun refused() = failed(Failure(Failure.Code.CAMERA_REFUSED, Phrase.CAMERA_ALLOW.text()))

    private fun failed(failure: Failure) {
        if (failure.code != Failure.Code.PICTURE) {
            stage.use(null)
            current = null
        }
        model.sourceFailed(failure)
    }

    /** The picture, upright and of a size that a screen shows; null when there is none to read. */
    private fun decoded(address: Uri): Bitmap? =
        try {
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) {
                val source = ImageDecoder.createSource(activity.contentResolver, address)
                ImageDecoder.decodeBitmap(source) { decoder, info, _ ->
                    decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
                    var part = 1
                    while (maxOf(info.size.width, info.size.height) / part > LARGEST) part *= 2
                    decoder.setTargetSampleSize(part)
                }
            } else {
                @Suppress("DEPRECATION") MediaStore.Images.Media.getBitmap(activity.contentResolver, address)
            }
        } catch (error: IOException) {
            null
        }

    private companion object {
        const val TRIES = 10
        const val PATIENCE = 200L // milliseconds
        const val LARGEST = 4096 // pixels on a side
    }
}
