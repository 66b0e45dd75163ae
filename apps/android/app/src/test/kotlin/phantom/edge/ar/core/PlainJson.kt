package phantom.edge.ar.core

import java.io.File
import org.junit.Assume.assumeTrue

/** Just enough of JSON for the vectors of tests: the app has Android's own reader, which is not here. */
class PlainJson(private val text: String) {
    private var at = 0

    fun value(): Any? {
        skip()
        return when (text[at]) {
            '{' -> members()
            '[' -> items()
            '"' -> string()
            else -> word()
        }
    }

    private fun members(): Map<String, Any?> {
        val members = LinkedHashMap<String, Any?>()
        each('}') {
            val name = string()
            skip()
            at++ // the colon
            members[name] = value()
        }
        return members
    }

    private fun items(): List<Any?> {
        val items = ArrayList<Any?>()
        each(']') { items += value() }
        return items
    }

    private fun each(end: Char, read: () -> Unit) {
        at++
        skip()
        while (text[at] != end) {
            read()
            skip()
            if (text[at] == ',') at++
            skip()
        }
        at++
    }

    private fun string(): String {
        val made = StringBuilder()
        at++
        while (text[at] != '"') {
            if (text[at] == '\\') at++
            made.append(text[at++])
        }
        at++
        return made.toString()
    }

    private fun word(): Any? {
        val start = at
        while (at < text.length && (text[at].isLetterOrDigit() || text[at] in "+-.")) at++
        return when (val word = text.substring(start, at)) {
            "null" -> null
            "true", "false" -> word.toBoolean()
            else -> word.toIntOrNull() ?: word.toDouble()
        }
    }

    private fun skip() {
        while (at < text.length && text[at].isWhitespace()) at++
    }

    companion object {
        /** Cases that the apps of every language are held to; the Python tests name their folder. */
        fun shared(name: String): Any? {
            val folder = System.getenv("PHANTOM_EDGE_APP_VECTORS").orEmpty()
            assumeTrue("PHANTOM_EDGE_APP_VECTORS names no folder: run the Python tests", folder.isNotEmpty())
            return PlainJson(File(folder, "${name}_vectors.json").readText()).value()
        }
    }
}
