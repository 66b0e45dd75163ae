package phantom.edge.core.bench

import phantom.edge.core.BackendException
import phantom.edge.core.BundleException
import phantom.edge.core.InputException

/**
 * What one process measured, in the form that the Python package reads: samples by row in seconds, bytes and tokens per
 * second, curves of `[seconds, value]`, and what is missing and why.
 */
internal class BenchRun {
    val runtime = LinkedHashMap<String, Any>()
    val model = LinkedHashMap<String, Any>()
    val samples = LinkedHashMap<String, MutableList<Double>>()
    val curves = LinkedHashMap<String, List<List<Double>>>()
    val missing = LinkedHashMap<String, String>()
    val conditions = LinkedHashMap<String, Any>()
    val notes = ArrayList<String>()

    fun add(row: String, value: Double) {
        samples.getOrPut(row) { ArrayList() } += value
    }

    /** A row of a number that the system may not tell. */
    fun add(row: String, value: Long?, otherwise: String) {
        if (value == null) missing[row] = otherwise else add(row, value.toDouble())
    }

    private fun members() =
        mapOf(
            "runtime" to runtime, "model" to model, "samples" to samples, "curves" to curves, "missing" to missing,
            "conditions" to conditions, "notes" to notes,
        )

    /** Lines of what a benchmark tells, as JSON without their end: steps while it works, then a run or an error. */
    companion object {
        fun step(text: String): String = JsonText.of(mapOf("step" to text))

        fun line(run: BenchRun): String = JsonText.of(mapOf("run" to run.members()))

        /** Code 2 is wrong use or bad input, 1 that something went wrong with it. */
        fun line(error: Throwable): String {
            val code = if (error is InputException || error is BundleException) 2 else 1
            return JsonText.of(mapOf("error" to (error.message ?: error.toString()), "code" to code))
        }
    }
}

/** Kotlin values as a JSON text: maps, lists, texts, numbers, truth and null. */
internal object JsonText {
    /** Throws [BackendException] for a number that is not finite: JSON has none. */
    fun of(value: Any?): String = StringBuilder().also { put(it, value) }.toString()

    private fun put(to: StringBuilder, value: Any?) {
        when (value) {
            is Map<*, *> -> value.entries.joinTo(to, ",", "{", "}") { "${of(it.key.toString())}:${of(it.value)}" }
            is List<*> -> value.joinTo(to, ",", "[", "]") { of(it) }
            is Double -> {
                if (!value.isFinite()) throw BackendException("what was measured is no finite number: measure again")
                to.append(value)
            }
            is Int, is Long, is Boolean, null -> to.append(value)
            else -> quote(to, value.toString())
        }
    }

    private fun quote(to: StringBuilder, text: String) {
        to.append('"')
        for (character in text) {
            when {
                character == '"' || character == '\\' -> to.append('\\').append(character)
                // Line ends of any kind would break a line in two; halves of characters are no UTF-8.
                character < ' ' || character.isSurrogate() || character in "\u007F\u0085\u2028\u2029" ->
                    to.append("\\u%04x".format(character.code))
                else -> to.append(character)
            }
        }
        to.append('"')
    }
}
