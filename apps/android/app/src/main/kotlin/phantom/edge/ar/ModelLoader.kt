package phantom.edge.ar

import android.content.Context
import android.content.res.AssetManager
import java.io.File
import java.io.IOException
import java.util.concurrent.Executors
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ExecutorCoroutineDispatcher
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.consumeEach
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import phantom.edge.AndroidConditions
import phantom.edge.ExecuTorchBackend
import phantom.edge.ar.core.BundleInstall
import phantom.edge.ar.core.Engine
import phantom.edge.ar.core.Failure
import phantom.edge.ar.core.FileSupply
import phantom.edge.ar.core.HttpSupply
import phantom.edge.ar.core.LoadingStep
import phantom.edge.ar.core.PhantomEngine
import phantom.edge.core.ModelBundle
import phantom.edge.core.Pacing
import phantom.edge.core.PhantomSession

/** Brings the bundle into the app's storage, once, and loads it into ExecuTorch. */
class ModelLoader(private val context: Context) {
    /** Throws a `Failure`, or an exception of the library. */
    suspend fun load(onStep: suspend (LoadingStep) -> Unit): Engine {
        val start = System.nanoTime()
        val bundle = install(onStep)
        onStep(LoadingStep("Loading the model", INSTALLED))
        val worker = Executors.newSingleThreadExecutor { Thread(it, "phantom-edge") }.asCoroutineDispatcher()
        try {
            val session = withContext(worker) { sessionOn(bundle) }
            onStep(LoadingStep("Ready", 1.0))
            return Loaded(PhantomEngine(session, worker, (System.nanoTime() - start) * 1e-9), worker)
        } catch (error: Throwable) {
            worker.close()
            throw error
        }
    }

    private fun sessionOn(bundle: ModelBundle): PhantomSession {
        val conditions = AndroidConditions(context)
        PhantomSession.checkMemory(bundle, conditions)
        return PhantomSession(bundle, ExecuTorchBackend(bundle), conditions, Pacing())
    }

    /** On a thread of its own; of the many words on how far it is, the newest is passed on. */
    private suspend fun install(onStep: suspend (LoadingStep) -> Unit): ModelBundle = coroutineScope {
        val steps = Channel<LoadingStep>(Channel.CONFLATED)
        val words = launch { steps.consumeEach { onStep(it) } }
        try {
            copy(steps)
        } finally {
            steps.close()
            words.join()
        }
    }

    private suspend fun copy(steps: Channel<LoadingStep>): ModelBundle = withContext(Dispatchers.IO) {
        val remote = BuildConfig.MODEL_URL
        val supply = if (remote.isEmpty()) AssetSupply(context.assets) else HttpSupply(remote)
        val text = if (remote.isEmpty()) "Unpacking the model" else "Fetching the model"
        val folder = File(context.filesDir, "bundle")
        val job = currentCoroutineContext()
        BundleInstall(folder, manifest(), supply).run({ job.ensureActive() }) { done, total ->
            steps.trySend(LoadingStep(text, INSTALLED * done / total))
        }
    }

    private fun manifest(): ByteArray =
        try {
            context.assets.open(ModelBundle.MANIFEST).use { it.readBytes() }
        } catch (error: IOException) {
            throw Failure(Failure.Code.BUNDLE, "The app has no model: write it again with `phantom-edge app android`.")
        }

    private companion object {
        const val INSTALLED = 0.9
    }
}

/** An engine with the thread that it runs on. */
private class Loaded(private val engine: Engine, private val worker: ExecutorCoroutineDispatcher) :
    Engine by engine {
    override suspend fun close() {
        engine.close()
        worker.close()
    }
}

/** The bundle's files among the app's assets, from the app itself or from its asset pack. */
private class AssetSupply(private val assets: AssetManager) : FileSupply {
    override fun open(name: String, from: Long): FileSupply.Part {
        val stream =
            try {
                assets.open("bundle/$name", AssetManager.ACCESS_STREAMING)
            } catch (error: IOException) {
                throw Failure(Failure.Code.BUNDLE, "$name is not part of this app: build it as its README says.")
            }
        var left = from
        while (left > 0) {
            val skipped = stream.skip(left)
            if (skipped <= 0) throw IOException("it is shorter than it was")
            left -= skipped
        }
        return FileSupply.Part(stream, from)
    }
}
