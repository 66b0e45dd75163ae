package phantom.edge

import android.content.Context
import android.os.Build
import java.io.File
import phantom.edge.core.Answering
import phantom.edge.core.Backend
import phantom.edge.core.BackendException
import phantom.edge.core.ContextCache
import phantom.edge.core.Manifest
import phantom.edge.core.ModelBundle
import phantom.edge.core.NpuBackend
import phantom.edge.core.NpuPlan
import phantom.edge.core.NpuVerdict
import phantom.edge.core.Pacing
import phantom.edge.core.Processors

/** Sessions by the NPU of this phone where a bundle has a part for it, else by its CPU. */
class Npus(private val context: Context) {
    /** The chip's name; older systems than Android 12 do not say. */
    val chip: String?
        get() = if (Build.VERSION.SDK_INT < Build.VERSION_CODES.S) null else Build.SOC_MODEL

    /** Which files of a bundle are for this phone. Throws [BackendException] where none is. */
    fun plan(manifest: Manifest): NpuPlan = NpuPlan.of(manifest, chip)

    /**
     * Opens [bundle] with [part], a bundle for `snapdragon` or this phone's files of one, by the rules of
     * [Processors]; without one on the CPU, for the reason [otherwise]. [tileSize] is one of the bundle's, null its
     * default.
     */
    fun open(
        bundle: ModelBundle,
        part: ModelBundle?,
        threads: Int = 0,
        pacing: Pacing = Pacing(),
        otherwise: String = "the app has no part for an NPU",
        tileSize: Int? = null,
        onStep: (String) -> Unit = {},
    ): Answering {
        val processors =
            Processors(bundle, AndroidConditions(context), pacing, tileSize) { ExecuTorchBackend(bundle, threads) }
        if (part == null) return processors.onCpu(otherwise)
        val key = listOf(part.digest, bundle.digest, PROVIDER, chip, Build.FINGERPRINT).joinToString(" ")
        val verdict = NpuVerdict(File(context.noBackupFilesDir, "phantom-npu"), key)
        val candidate =
            Processors.Candidate(part, chip, verdict) { plan, cpu -> backend(part, plan, bundle.manifest, cpu) }
        return processors.open(candidate, onStep)
    }

    /** Compares what this phone needs of a part with its digests. A part for other phones has nothing to compare. */
    internal fun check(part: ModelBundle) {
        val plan =
            try {
                plan(part.manifest)
            } catch (error: BackendException) {
                return
            }
        part.checkFiles(plan.files)
    }

    /** The graphs of [plan], loaded on the NPU. Throws [BackendException]. */
    internal fun backend(bundle: ModelBundle, plan: NpuPlan, cpuManifest: Manifest, cpu: Backend): NpuBackend {
        val runtime = runtime(bundle.manifest.npu?.options.orEmpty())
        val files =
            if (plan.isCompiled) {
                plan.graphs.mapValues { (_, path) -> File(bundle.folder, path) }
            } else {
                val key = listOf(bundle.digest, PROVIDER, plan.chip, Build.FINGERPRINT).joinToString(" ")
                ContextCache(File(context.cacheDir, "phantom-npu"), key).files(plan, bundle.folder, runtime)
            }
        return NpuBackend(plan, files, runtime, cpu, cpuManifest).also { it.prepare() }
    }

    private fun runtime(options: Map<String, String>): QnnRuntime =
        try {
            QnnRuntime(context, options)
        } catch (error: LinkageError) { // built without them, or for a processor that they are not made for
            throw BackendException("the app has no ONNX Runtime with the QNN provider: ${error.message}", error)
        }

    private companion object {
        const val PROVIDER = "2.7.0" // of com.qualcomm.qti:onnxruntime-android-qnn
    }
}
