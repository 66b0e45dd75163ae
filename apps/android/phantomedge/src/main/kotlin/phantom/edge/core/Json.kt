package phantom.edge.core

/**
 * A JSON text as Kotlin values: `Map`, `List`, `String`, `Double`, `Boolean` and null.
 *
 * Android's own `org.json` has no limit on depth (a file of 100,000 brackets ends in a StackOverflowError), and takes
 * comments, bare words, `;` for a comma, halves of characters and a second value behind the first for JSON.
 */
internal class JsonReader private constructor(private val text: String) {
    private var at = 0
    private var depth = 0

    companion object {
        private const val DEPTH_LIMIT = 64
        private val ESCAPES =
            mapOf(
                '"' to '"', '\\' to '\\', '/' to '/', 'b' to '\b',
                'f' to '\u000C', 'n' to '\n', 'r' to '\r', 't' to '\t',
            )

        /** Throws [BundleException] for anything that is not one JSON value in UTF-8. */
        fun read(bytes: ByteArray): Any? {
            val decoder = Charsets.UTF_8.newDecoder()
            val text =
                try {
                    decoder.decode(java.nio.ByteBuffer.wrap(bytes)).toString()
                } catch (error: java.nio.charset.CharacterCodingException) {
                    throw BundleException("JSON is not UTF-8: export the bundle again", error)
                }
            val reader = JsonReader(text)
            val value = reader.value()
            reader.skipSpace()
            if (reader.at != text.length) reader.fail("has more than one value")
            return value
        }
    }

    private fun fail(what: String): Nothing = throw BundleException("JSON $what at $at: export the bundle again")

    private val next: Char?
        get() = text.getOrNull(at)

    private fun skipSpace() {
        while (next == ' ' || next == '\n' || next == '\r' || next == '\t') at++
    }

    private fun take(character: Char): Boolean {
        skipSpace()
        if (next != character) return false
        at++
        return true
    }

    private fun value(): Any? {
        skipSpace()
        return when (next) {
            '{' -> nested { readObject() }
            '[' -> nested { readArray() }
            '"' -> readText()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun <T> nested(read: () -> T): T {
        at++
        depth++
        if (depth > DEPTH_LIMIT) fail("is nested too deeply")
        return read().also { depth-- }
    }

    private fun readObject(): Map<String, Any?> {
        val members = LinkedHashMap<String, Any?>()
        if (take('}')) return members
        do {
            skipSpace()
            if (next != '"') fail("lacks a key")
            val key = readText()
            if (!take(':')) fail("lacks a colon")
            members[key] = value()
        } while (take(','))
        if (!take('}')) fail("lacks a brace")
        return members
    }

    private fun readArray(): List<Any?> {
        val items = ArrayList<Any?>()
        if (take(']')) return items
        do items += value() while (take(','))
        if (!take(']')) fail("lacks a bracket")
        return items
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("has an unknown word")
        at += word.length
        return value
    }

    private fun number(): Double {
        val start = at
        while (next?.let { it in "+-.eE0123456789" } == true) at++
        return text.substring(start, at).toDoubleOrNull() ?: fail("has something that is no value")
    }

    private fun readText(): String {
        at++
        val result = StringBuilder()
        while (true) {
            val character = next ?: fail("ends within a text")
            at++
            when {
                character == '"' -> return result.toString()
                character == '\\' -> escape(result)
                character < ' ' -> fail("has a control character in a text")
                else -> result.append(character)
            }
        }
    }

    private fun escape(result: StringBuilder) {
        val character = next ?: fail("ends within a text")
        at++
        ESCAPES[character]?.let { result.append(it) } ?: run {
            if (character != 'u') fail("has an unknown escape")
            val unit = unit()
            result.append(unit)
            if (unit.isLowSurrogate()) fail("has half a character")
            if (unit.isHighSurrogate()) {
                if (!text.startsWith("\\u", at)) fail("has half a character")
                at += 2
                val low = unit()
                if (!low.isLowSurrogate()) fail("has half a character")
                result.append(low)
            }
        }
    }

    private fun unit(): Char {
        val digits = text.substring(at, minOf(at + 4, text.length))
        if (digits.length < 4 || digits.any { it !in "0123456789abcdefABCDEF" }) fail("has an unknown escape")
        at += 4
        return digits.toInt(16).toChar()
    }
}

/** A member of a JSON object; null when there is none, or this is no object. */
@Suppress("UNCHECKED_CAST") // the reader makes no maps of other keys
internal operator fun Any?.get(key: String): Any? = (this as? Map<String, Any?>)?.get(key)

/** A whole number that fits an Int. */
internal val Any?.int: Int?
    get() = (this as? Double)?.let { value -> value.toInt().takeIf { it.toDouble() == value } }

internal val Any?.long: Long?
    get() = (this as? Double)?.let { value -> value.toLong().takeIf { it.toDouble() == value } }
