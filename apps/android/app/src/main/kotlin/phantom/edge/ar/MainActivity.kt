package phantom.edge.ar

import android.Manifest
import android.content.pm.PackageManager
import android.content.res.Configuration
import android.net.Uri
import android.os.Bundle
import android.view.WindowManager
import android.widget.Toast
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import phantom.edge.AndroidConditions
import phantom.edge.ar.core.AppModel
import phantom.edge.ar.core.Failure
import phantom.edge.ar.core.FakeEngine
import phantom.edge.ar.core.Subject
import phantom.edge.ar.core.TileSizeStore

/**
 * The app's one screen. The extra `engine` with the value `fake` answers without a model and shows a drawn picture
 * instead of a camera, so that UI tests run anywhere.
 */
class MainActivity : ComponentActivity() {
    private val scope = MainScope()
    private var model: AppModel? = null
    private var sources: Sources? = null
    private var screen: Screen? = null
    private var welcome: Welcome? = null
    private var isWelcoming = false
    private var afterPermission: (Boolean) -> Unit = {}

    private val permission =
        registerForActivityResult(ActivityResultContracts.RequestPermission()) { afterPermission(it) }
    private val picker =
        registerForActivityResult(ActivityResultContracts.PickVisualMedia()) { uri: Uri? ->
            if (uri != null) {
                isWelcoming = false
                sources?.openPicture(uri)
            } else if (isWelcoming) {
                welcome()
            }
        }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        reachEdges()
        speakAs(this)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        try {
            begin(intent.getStringExtra(ENGINE) == FAKE)
        } catch (failure: Failure) { // the settings: nothing can be shown without them
            Toast.makeText(this, failure.message, Toast.LENGTH_LONG).show()
            finish()
        }
    }

    private fun begin(isFake: Boolean) {
        val config = Settings.read(assets)
        val sizes = if (isFake) TileSizeStore.None else StoredTileSize(this)
        val loader = ModelLoader(applicationContext, config.sampling)
        val model =
            AppModel(config, AndroidConditions(this), scope, ::residentMemory, sizes) { onStep ->
                if (isFake) FakeEngine.load(onStep = onStep) else loader.load(onStep)
            }
        val screen = Screen(this, model, scope)
        val sources = Sources(this, model, screen.stage, scope, isFake)
        screen.onRetry = { subject ->
            if (subject == Subject.MODEL) scope.launch { model.loadModel() } else sources.openBest()
        }
        screen.onAr = sources::openBest
        screen.onCamera = sources::openCamera
        screen.onPicture = ::pickPicture
        screen.onPinCentre = sources::pinAtCentre
        screen.onSettings = ::openSettings
        this.model = model
        this.screen = screen
        this.sources = sources
        welcome = Welcome(this, config.title, loader.knows)
        scope.launch {
            model.state.collect {
                screen.show(it, sources.canUseAr)
                sources.show(it.shownReach)
            }
        }
        scope.launch { model.loadModel() }
        if (isFake || welcome?.isOver == true) sources.openBest() else welcome()
    }

    /** The first screen; again where the user came back from choosing a picture without one. */
    private fun welcome() {
        isWelcoming = true
        welcome?.show(
            onCamera = {
                isWelcoming = false
                sources?.openBest()
            },
            onPicture = ::pickPicture,
        )
    }

    private fun pickPicture() =
        picker.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly))

    /** Calls back with whether the camera is allowed, asking the user if need be. */
    fun withCamera(then: (Boolean) -> Unit) {
        if (checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED) return then(true)
        afterPermission = then
        permission.launch(Manifest.permission.CAMERA)
    }

    private fun openSettings() {
        val page = android.content.Intent(android.provider.Settings.ACTION_APPLICATION_DETAILS_SETTINGS)
        startActivity(page.setData(Uri.fromParts("package", packageName, null)))
    }

    override fun onResume() {
        super.onResume()
        sources?.resume()
        model?.setAway(false)
    }

    override fun onPause() {
        model?.setAway(true)
        sources?.pause()
        super.onPause()
    }

    override fun onConfigurationChanged(newConfig: Configuration) {
        super.onConfigurationChanged(newConfig)
        screen?.build()
        sources?.turned()
    }

    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        val model = model ?: return
        if (level >= TRIM_MEMORY_RUNNING_LOW) scope.launch { model.memoryWarning() }
    }

    override fun onDestroy() {
        val model = model
        scope.launch {
            model?.close() // what is under way ends first
            scope.cancel()
        }
        super.onDestroy()
    }

    companion object {
        const val ENGINE = "engine"
        const val FAKE = "fake"
    }
}
