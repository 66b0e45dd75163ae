package phantom.edge.core

import java.io.File
import java.io.IOException
import java.security.MessageDigest

/**
 * Graphs that this phone compiled for its NPU at their first use, below [folder].
 *
 * They belong to one [key] (the bundle, the provider's version, the chip); those of another are removed. They count
 * only when all were written: a list with every file's size comes last, so that neither half a compilation nor a cache
 * that the system has cleared in part is ever loaded.
 */
class ContextCache(private val folder: File, key: String) {
    private val own = File(folder, digest(key))
    private val list = File(own, LIST)

    /** Files of the plan's graphs, compiled now by [runtime] as far as there are none. Throws [BackendException]. */
    fun files(plan: NpuPlan, bundle: File, runtime: NpuRuntime): Map<NpuGraph, File> {
        val files = plan.graphs.mapValues { (graph, _) -> File(own, "${graph.key}.onnx") }
        if (isComplete()) return files
        clear()
        try {
            if (!own.mkdirs()) throw IOException("$own cannot be made")
            for ((graph, path) in plan.graphs) runtime.compile(File(bundle, path), files.getValue(graph))
            val missing = files.values.firstOrNull { !it.isFile }
            if (missing != null) throw BackendException("the NPU's provider wrote no ${missing.name}")
            list.writeText(contents().entries.joinToString("") { (name, bytes) -> "$bytes $name\n" })
        } catch (error: IOException) {
            clear()
            throw BackendException("what was compiled for the NPU cannot be kept: free some space", error)
        } catch (error: Throwable) {
            clear()
            throw error
        }
        return files
    }

    /** Removes what is there, of any key. */
    fun clear() {
        folder.deleteRecursively()
    }

    private fun isComplete(): Boolean {
        if (!list.isFile) return false
        val listed =
            list.readLines().filter { it.isNotEmpty() }.associate { line ->
                line.substringAfter(' ') to line.substringBefore(' ').toLongOrNull()
            }
        return listed == contents()
    }

    private fun contents(): Map<String, Long> =
        own.walkTopDown().filter { it.isFile && it != list }.associate {
            it.relativeTo(own).invariantSeparatorsPath to it.length()
        }

    private companion object {
        const val LIST = "complete"

        fun digest(key: String): String =
            MessageDigest.getInstance("SHA-256").digest(key.toByteArray()).joinToString("") { "%02x".format(it) }
    }
}
