package phantom.edge.core.bench

import java.io.File
import phantom.edge.core.BundleException
import phantom.edge.core.InputException
import phantom.edge.core.JsonReader
import phantom.edge.core.get
import phantom.edge.core.int

/**
 * What a computer wants measured: `job.json`, beside the bundle's files. [check] compares the golden outputs first,
 * [soak] minutes of generating follow, 0 for none.
 *
 * Throws [InputException] for a file that is missing, too large, incomplete or beyond the limits that the command line
 * has.
 */
internal class BenchJob(folder: File) {
    val repeats: Int
    val warmup: Int
    val steps: Int
    val threads: Int?
    val check: Boolean
    val soak: Double

    /** Whether the graphs of the bundle in [NPU] are to run on the NPU; anything else is an error then. */
    val onNpu: Boolean
    private val depths: List<Int>

    init {
        val job = read(File(folder, NAME))
        val settings = job["settings"]
        repeats = count(settings, "repeats", 1..1000)
        warmup = count(settings, "warmup", 0..100)
        steps = count(settings, "steps", 1..10_000)
        threads = if (settings["threads"] == null) null else count(settings, "threads", 1..1024)
        depths = (settings["depths"] as? List<*>)?.map { it.int ?: -1 } ?: lacks("depths")
        if (depths.size > 1000 || depths.any { it !in 0..(1 shl 24) }) {
            throw InputException("the job's depths are no numbers of cached tokens")
        }
        check = job["check"] as? Boolean ?: lacks("check")
        val minutes = settings["soak"] as? Double ?: lacks("soak")
        soak = if (job["soak"] as? Boolean ?: lacks("soak")) minutes else 0.0
        if (!(soak >= 0 && soak <= 24 * 60)) {
            throw InputException("the job's soak is $soak: use minutes up to ${24 * 60}")
        }
        onNpu =
            when (job["processor"]) {
                null, "cpu" -> false
                "npu" -> true
                else -> throw InputException("the job's processor is neither cpu nor npu")
            }
        if (settings["clock"] != "wall") throw InputException("an app reads the clock on the wall only")
    }

    /** Generated tokens that are not counted before each measured run of them. */
    val warmSteps: Int
        get() = 4 * warmup

    /** Depths at which warm-up and steps fit a context of so many tokens, each once and in order. */
    fun fitting(context: Int): List<Int> = depths.distinct().sorted().filter { it + warmSteps + steps <= context }

    private fun count(settings: Any?, name: String, range: IntRange): Int {
        val value = settings[name].int ?: lacks(name)
        if (value !in range) {
            throw InputException("the job's $name is $value: use ${range.first} to ${range.last}")
        }
        return value
    }

    private fun lacks(field: String): Nothing =
        throw InputException("$NAME lacks $field: start it with a `phantom-edge bench` of this library's release")

    companion object {
        /** Below the job's folder, where the NPU's part of the model lies. */
        const val NPU = "npu"
        private const val NAME = "job.json"
        private const val LIMIT = 1L shl 20

        private fun read(file: File): Any? =
            try {
                if (!file.isFile || file.length() > LIMIT) throw BundleException("")
                JsonReader.read(file.readBytes())
            } catch (error: BundleException) {
                throw InputException("$NAME is missing or no job: start it with `phantom-edge bench`")
            }
    }
}
