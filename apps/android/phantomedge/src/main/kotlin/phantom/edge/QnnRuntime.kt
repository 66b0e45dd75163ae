package phantom.edge

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import android.content.Context
import android.system.ErrnoException
import android.system.Os
import java.io.Closeable
import java.io.File
import phantom.edge.core.BackendException
import phantom.edge.core.NpuCall
import phantom.edge.core.NpuRuntime
import phantom.edge.core.StaticTensor

/**
 * ONNX Runtime with Qualcomm's QNN execution provider, for graphs that run on the NPU as a whole.
 *
 * The app links `com.microsoft.onnxruntime:onnxruntime-android`, `com.qualcomm.qti:onnxruntime-android-qnn` (the
 * provider) and `com.qualcomm.qti:qnn-runtime` (Qualcomm's libraries); this module compiles against the first alone.
 * [options] are the provider's, as the bundle's manifest has them.
 *
 * Throws [BackendException] where the phone has no NPU of Qualcomm's, and a `LinkageError` in an app without the
 * libraries.
 */
class QnnRuntime(context: Context, private val options: Map<String, String>) : NpuRuntime {
    private val environment = translated("start") { environment(context.applicationContext) }
    override val name = "ONNX Runtime ${environment.version}, QNN"

    override fun open(
        graph: File,
        inputs: List<StaticTensor>,
        outputs: List<StaticTensor>,
        shares: Boolean,
    ): NpuCall =
        translated("load ${graph.name}") {
            val loaded = Loaded(graph) { if (shares) it.addConfigEntry("ep.share_ep_contexts", "1") }
            try {
                Call(loaded, graph.name, inputs, outputs)
            } catch (error: Throwable) {
                loaded.close()
                throw error
            }
        }

    /** The session writes the compiled graph while it is made, and its context binary beside it. */
    override fun compile(graph: File, target: File) =
        translated("compile ${graph.name}") {
            Loaded(graph) { settings ->
                settings.addConfigEntry("ep.context_enable", "1")
                settings.addConfigEntry("ep.context_file_path", target.path)
                settings.addConfigEntry("ep.context_embed_mode", "0")
            }.close()
        }

    /** Sessions are closed one by one; the environment is the process's. */
    override fun close() = Unit

    /** A session, and its settings, which have to live as long. */
    private inner class Loaded(graph: File, adjust: (OrtSession.SessionOptions) -> Unit) : Closeable {
        private val settings = OrtSession.SessionOptions()
        val session: OrtSession

        init {
            try {
                val devices = environment.epDevices.filter { it.epName == PROVIDER }
                if (devices.isEmpty()) throw BackendException("the QNN provider knows no device on this phone")
                settings.addExecutionProvider(devices, DEFAULTS + options)
                // A graph that is not whole on the NPU would be slow without a word.
                settings.addConfigEntry("session.disable_cpu_ep_fallback", "1")
                adjust(settings)
                session = environment.createSession(graph.path, settings)
            } catch (error: Throwable) {
                settings.close()
                throw error
            }
        }

        override fun close() {
            session.close()
            settings.close()
        }
    }

    /** A session with the tensors that it reads and writes, which are the callers' own memory. */
    private inner class Call(
        private val loaded: Loaded,
        private val graph: String,
        inputs: List<StaticTensor>,
        outputs: List<StaticTensor>,
    ) : NpuCall {
        private val tensors = ArrayList<OnnxTensor>()
        private val given = inputs.associate { it.name to wrapped(it) }
        private val pinned = outputs.associate { it.name to wrapped(it) }

        init {
            val session = loaded.session
            if (session.inputNames.toSet() != given.keys || session.outputNames.toSet() != pinned.keys) {
                tensors.forEach { it.close() }
                throw BackendException("$graph has other inputs or outputs than this app gives: update the app")
            }
        }

        override fun run() = translated("run $graph") { loaded.session.run(given, emptySet(), pinned).close() }

        override fun close() {
            tensors.forEach { it.close() }
            translated("close $graph") { loaded.close() }
        }

        private fun wrapped(tensor: StaticTensor): OnnxTensor {
            val shape = LongArray(tensor.shape.size) { tensor.shape[it].toLong() }
            val type =
                when (tensor.type) {
                    StaticTensor.Type.F32 -> OnnxJavaType.FLOAT
                    StaticTensor.Type.F16 -> OnnxJavaType.FLOAT16
                    StaticTensor.Type.I32 -> OnnxJavaType.INT32
                    StaticTensor.Type.I8 -> OnnxJavaType.INT8
                }
            return OnnxTensor.createTensor(environment, tensor.data, shape, type).also { tensors += it }
        }
    }

    private inline fun <T> translated(what: String, work: () -> T): T =
        try {
            work()
        } catch (error: OrtException) {
            throw BackendException("the NPU does not $what: ${error.message}", error)
        } catch (error: RuntimeException) {
            throw BackendException("the NPU does not $what: ${error.message}", error)
        }

    companion object {
        private const val PROVIDER = "QNNExecutionProvider" // the name that the provider wants to be registered by
        private const val LIBRARY = "libonnxruntime_providers_qnn.so"
        private val DEFAULTS = mapOf("backend_type" to "htp", "htp_performance_mode" to "burst")
        private var started: OrtEnvironment? = null

        /** The process's only environment, with the provider registered. */
        @Synchronized
        private fun environment(context: Context): OrtEnvironment {
            started?.let { return it }
            val libraries = context.applicationInfo.nativeLibraryDir // unpacked there: useLegacyPackaging
            try {
                Os.setenv("ADSP_LIBRARY_PATH", libraries, true) // where the DSP finds its half of Qualcomm's
                Os.setenv("ORT_DISABLE_TELEMETRY", "1", true)
            } catch (error: ErrnoException) {
                throw BackendException("the path of the DSP's libraries cannot be set: ${error.message}", error)
            }
            val environment = OrtEnvironment.getEnvironment()
            environment.setTelemetry(false)
            environment.registerExecutionProviderLibrary(PROVIDER, File(libraries, LIBRARY).path)
            return environment.also { started = it }
        }
    }
}
