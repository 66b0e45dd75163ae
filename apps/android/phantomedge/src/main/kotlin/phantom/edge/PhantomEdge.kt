package phantom.edge

import android.content.ComponentCallbacks2
import android.content.Context
import android.content.res.Configuration
import java.io.Closeable
import java.io.File
import java.util.concurrent.Executors
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import phantom.edge.core.AnswerOptions
import phantom.edge.core.Answering
import phantom.edge.core.Chat
import phantom.edge.core.Likelihood
import phantom.edge.core.ModelBundle
import phantom.edge.core.Pacing
import phantom.edge.core.PhantomSession
import phantom.edge.core.Processor
import phantom.edge.core.RgbImage
import phantom.edge.core.SelfTest
import phantom.edge.core.selfTest

/**
 * A loaded bundle for an Android app: a session in ExecuTorch or on the NPU, on a thread of its own, that listens when
 * the system asks for memory.
 *
 *     val phantom = PhantomEdge.load(context, folder)
 *     val chat = phantom.chat(RgbImage.of(bitmap))
 *     phantom.ask(chat, "What colour is it?").collect { print(it) }
 */
class PhantomEdge
private constructor(private val context: Context, answering: Answering, private val worker: Worker) : Closeable {
    val session: PhantomSession = answering.session

    /** Which processor answers, and why. */
    val processor: Processor = answering.processor
    private val mutex = Mutex() // one question at a time: the runtime has one cache
    private val scope = CoroutineScope(worker.dispatcher)
    private val memory =
        object : ComponentCallbacks2 {
            override fun onTrimMemory(level: Int) {
                if (level >= ComponentCallbacks2.TRIM_MEMORY_RUNNING_LOW) trim()
            }

            override fun onConfigurationChanged(configuration: Configuration) {}

            @Deprecated("Older systems call it")
            override fun onLowMemory() = trim()
        }

    init {
        context.registerComponentCallbacks(memory)
    }

    /**
     * A new context, about a picture if one is given. It ends the chat before it. [tileSize] is one of
     * `session.manifest.tileSizes`: see [PhantomSession.atTileSize].
     */
    fun chat(
        image: RgbImage? = null,
        maxTiles: Int = session.manifest.maxTiles,
        tileSize: Int = session.tile.size,
    ): Chat = session.atTileSize(tileSize).chat(image, maxTiles)

    /**
     * The answer as pieces of text. Cancelling the collector stops it after the call of a graph that is under way; what
     * was said stands, and the next question may follow.
     */
    fun ask(chat: Chat, question: String, options: AnswerOptions = AnswerOptions()): Flow<String> =
        flow {
            mutex.withLock {
                val job = currentCoroutineContext()
                for (piece in chat.ask(question, options) { job.ensureActive() }) emit(piece)
            }
        }.flowOn(worker.dispatcher)

    /** How likely each of the choices is as the answer, the likeliest first; see [Chat.rank]. */
    suspend fun rank(chat: Chat, question: String, choices: List<String>): List<Likelihood> =
        withContext(worker.dispatcher) {
            mutex.withLock {
                val job = currentCoroutineContext()
                chat.rank(question, choices) { job.ensureActive() }
            }
        }

    /** Forgets a chat's questions and answers but keeps its picture; see [Chat.rewind]. */
    suspend fun rewind(chat: Chat) = withContext(worker.dispatcher) { mutex.withLock { chat.rewind() } }

    /** Runs the bundle's recorded inputs on this device, with tiles of one of its sizes. */
    suspend fun selfTest(tileSize: Int = session.tile.size): SelfTest =
        withContext(worker.dispatcher) { mutex.withLock { session.atTileSize(tileSize).selfTest() } }

    /** Gives memory back that can be had again, once what is under way has ended. */
    fun trim() {
        scope.launch { mutex.withLock { session.trim() } }
    }

    /** Ends the session once what is under way has ended. */
    override fun close() {
        context.unregisterComponentCallbacks(memory)
        runBlocking(worker.dispatcher) { mutex.withLock { session.close() } }
        worker.close()
    }

    private class Worker : Closeable {
        val dispatcher = Executors.newSingleThreadExecutor { Thread(it, "phantom-edge") }.asCoroutineDispatcher()

        override fun close() = dispatcher.close()
    }

    companion object {
        /**
         * Opens the bundle in [folder], which must lie in the app's own storage.
         *
         * [npu] is the folder of a bundle for `snapdragon`, or of those of its files that this phone's chip needs
         * ([Npus.plan]). It answers where it passes its golden file here; where not, the CPU does, and [processor] says
         * why. [tileSize] is the side in pixels of one of the bundle's sizes of tiles, null its default; an NPU has one
         * size, and leaves others to the CPU. [verify] compares every file's SHA-256 with the manifest: once after a
         * download is enough. Throws [phantom.edge.core.PhantomEdgeException], a `MemoryException` when the system has no
         * room for the model.
         */
        suspend fun load(
            context: Context,
            folder: File,
            verify: Boolean = true,
            threads: Int = 0,
            pacing: Pacing = Pacing(),
            npu: File? = null,
            tileSize: Int? = null,
        ): PhantomEdge {
            val worker = Worker()
            val application = context.applicationContext
            try {
                val answering =
                    withContext(worker.dispatcher) {
                        val bundle = ModelBundle(folder, verify)
                        val part = npu?.let { ModelBundle(it, verify = false) }
                        if (part != null && verify) Npus(application).check(part)
                        Npus(application).open(bundle, part, threads, pacing, tileSize = tileSize)
                    }
                return PhantomEdge(application, answering, worker)
            } catch (error: Throwable) {
                worker.close()
                throw error
            }
        }
    }
}
