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
import kotlinx.coroutines.channels.SendChannel
import kotlinx.coroutines.channels.consumeEach
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import phantom.edge.Npus
import phantom.edge.ar.core.BundleInstall
import phantom.edge.ar.core.Engine
import phantom.edge.ar.core.Failure
import phantom.edge.ar.core.HttpSupply
import phantom.edge.ar.core.LoadingStep
import phantom.edge.ar.core.PhantomEngine
import phantom.edge.ar.core.Phrase
import phantom.edge.core.BundleException
import phantom.edge.core.FileSupply
import phantom.edge.core.Manifest
import phantom.edge.core.ModelBundle
import phantom.edge.core.PhantomEdgeException
import phantom.edge.core.Sampling

/** Brings the bundle into the app's storage, once, and loads it into ExecuTorch, or onto the NPU of this phone. */
class ModelLoader(private val context: Context, private val sampling: Sampling) {
    private val npus = Npus(context)

    /** A bundle's part for this phone's NPU, or why there is none. */
    private class Part(val bundle: ModelBundle?, val reason: String)

    /** Throws a `Failure`, or an exception of the library. */
    suspend fun load(onStep: suspend (LoadingStep) -> Unit): Engine {
        val start = System.nanoTime()
        val worker = Executors.newSingleThreadExecutor { Thread(it, "phantom-edge") }.asCoroutineDispatcher()
        try {
            val answering =
                telling(onStep) { steps ->
                    val bundle = withContext(Dispatchers.IO) { bundle(steps) }
                    val part = withContext(Dispatchers.IO) { part(steps) }
                    steps.trySend(LoadingStep(Phrase.LOADING_MODEL.text(), FETCHED))
                    withContext(worker) {
                        val tell = { text: String -> steps.trySend(LoadingStep(text, FETCHED)).let {} }
                        npus.open(bundle, part.bundle, otherwise = part.reason, onStep = tell)
                    }
                }
            onStep(LoadingStep(Phrase.READY.text(), 1.0))
            return Loaded(PhantomEngine(answering, worker, (System.nanoTime() - start) * 1e-9, sampling), worker)
        } catch (error: Throwable) {
            worker.close()
            throw error
        }
    }

    /** What the model knows, in a sentence of its bundle; null where it says nothing, or cannot be loaded. */
    val knows: String?
        get() =
            try {
                manifest()?.let { Manifest.read(it).knows }
            } catch (error: BundleException) {
                null
            }

    /** Of the bundle that the app carries or fetches; null where it has none. */
    private fun manifest(): ByteArray? = asset(ModelBundle.MANIFEST)

    /** Work that tells how far it is from other threads; of its many words the newest is passed on. */
    private suspend fun <T> telling(
        onStep: suspend (LoadingStep) -> Unit,
        work: suspend (SendChannel<LoadingStep>) -> T,
    ): T = coroutineScope {
        val steps = Channel<LoadingStep>(Channel.CONFLATED)
        val words = launch { steps.consumeEach { onStep(it) } }
        try {
            work(steps)
        } finally {
            steps.close()
            words.join()
        }
    }

    private suspend fun bundle(steps: SendChannel<LoadingStep>): ModelBundle {
        val remote = BuildConfig.MODEL_URL
        val supply = if (remote.isEmpty()) AssetSupply(context.assets, BUNDLE) else HttpSupply(remote)
        val manifest =
            manifest()
                ?: throw Failure(Failure.Code.BUNDLE, "The app has no model: write it with `phantom-edge app android`.")
        val text = (if (remote.isEmpty()) Phrase.UNPACKING else Phrase.FETCHING).text()
        return install(BundleInstall(File(context.filesDir, BUNDLE), manifest, supply), steps, text, 0.0..INSTALLED)
    }

    /** What the NPU's bundle has for this phone, and nothing of what it has for others. */
    private suspend fun part(steps: SendChannel<LoadingStep>): Part {
        val folder = File(context.filesDir, NPU)
        val manifest = asset("$NPU/${ModelBundle.MANIFEST}")
        if (manifest == null) {
            folder.deleteRecursively()
            return Part(null, Phrase.NO_NPU_PART.text())
        }
        val remote = BuildConfig.NPU_URL
        return try {
            val supply = if (remote.isEmpty()) AssetSupply(context.assets, NPU) else HttpSupply(remote)
            val install = BundleInstall(folder, manifest, supply) { npus.plan(it).files }
            Part(install(install, steps, Phrase.FETCHING_NPU.text(), INSTALLED..FETCHED), "")
        } catch (error: Failure) { // tried again at the next start
            Part(null, error.message)
        } catch (error: PhantomEdgeException) {
            Part(null, error.message.orEmpty())
        }
    }

    private suspend fun install(
        install: BundleInstall,
        steps: SendChannel<LoadingStep>,
        text: String,
        part: ClosedFloatingPointRange<Double>,
    ): ModelBundle {
        val job = currentCoroutineContext()
        return install.run({ job.ensureActive() }) { done, total ->
            val share = if (total > 0) done.toDouble() / total else 1.0
            steps.trySend(LoadingStep(text, part.start + share * (part.endInclusive - part.start)))
        }
    }

    /** A small file of the app's own; null where it has none. */
    private fun asset(name: String): ByteArray? =
        try {
            context.assets.open(name).use { it.readBytes() }
        } catch (error: IOException) {
            null
        }

    private companion object {
        const val BUNDLE = "bundle"
        const val NPU = "npu"
        const val INSTALLED = 0.6
        const val FETCHED = 0.9
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
private class AssetSupply(private val assets: AssetManager, private val folder: String) : FileSupply {
    override fun open(name: String, from: Long): FileSupply.Part {
        val stream =
            try {
                assets.open("$folder/$name", AssetManager.ACCESS_STREAMING)
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
