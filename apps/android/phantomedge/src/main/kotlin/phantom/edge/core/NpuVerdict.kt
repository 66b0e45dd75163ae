package phantom.edge.core

import java.io.File
import java.io.IOException

/**
 * What the golden file said about the NPU of this phone, in one small [file], for one [key]: the bundles, the
 * provider's version, the chip and the system's build. Another key, after an update of the app or of the system, is
 * tested again.
 *
 * A test is noted before it begins. So a driver that ends the process with it is not tried for ever.
 */
class NpuVerdict(private val file: File, private val key: String) {
    private val lines: List<String> =
        try {
            if (file.length() in 1..LIMIT) file.readLines() else emptyList()
        } catch (error: IOException) {
            emptyList()
        }
    private val isOurs = lines.size == 3 && lines[0] == key
    private val begun = if (isOurs && lines[1] == BEGUN) lines[2].toIntOrNull() ?: 0 else 0

    /** Whether the golden file's rule was met. */
    val hasPassed: Boolean
        get() = isOurs && lines[1] == PASSED

    /** Why the NPU is not used; null where nothing speaks against it. */
    val reason: String?
        get() =
            when {
                isOurs && lines[1] == FAILED -> lines[2]
                begun >= MOST_TRIES -> "the app ended $begun times while the NPU was tried"
                else -> null
            }

    /** Notes that a test begins. */
    fun begin() = write(BEGUN, "${begun + 1}")

    fun pass() = write(PASSED, "")

    fun fail(reason: String) = write(FAILED, reason.lineSequence().first())

    /** A phone whose storage is full tests again at its next start. */
    private fun write(state: String, detail: String) {
        val part = File(file.parentFile, "${file.name}.part")
        try {
            file.parentFile?.mkdirs()
            part.writeText(listOf(key, state, detail).joinToString("\n", postfix = "\n"))
            part.renameTo(file)
        } catch (error: IOException) {
            part.delete()
        }
    }

    private companion object {
        const val LIMIT = 1L shl 16
        const val MOST_TRIES = 3
        const val BEGUN = "begun"
        const val PASSED = "passed"
        const val FAILED = "failed"
    }
}
