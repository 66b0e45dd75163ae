package phantom.edge.core

/**
 * How a token becomes bytes: the `decoder` of a `tokenizer.json`.
 *
 * Throws [BundleException] for a decoder that is missing or not known here.
 */
internal class TextDecoder(json: Any?) {
    val isByteLevel: Boolean
    private val replacements = ArrayList<Pair<String, String>>()
    private val hasByteTokens: Boolean

    /** Spaces that go at the very start of a text. */
    var spacesToStrip = 0
        private set

    init {
        val steps = json["decoders"] as? List<*> ?: listOfNotNull(json)
        val kinds = steps.map { it["type"] }
        if (steps.isEmpty()) throw BundleException("the tokenizer has no decoder, so that ids cannot become text")
        isByteLevel = kinds == listOf("ByteLevel")
        hasByteTokens = "ByteFallback" in kinds
        if (!isByteLevel) steps.forEach { read(it, "Fuse" in kinds) }
    }

    private fun read(step: Any?, fuses: Boolean) {
        val kind = step["type"]
        val content = step["content"] as? String
        val old = step["pattern"]["String"] as? String
        when {
            kind == "ByteFallback" || kind == "Fuse" -> {}
            kind == "Replace" && !old.isNullOrEmpty() && content != null -> replacements += old to content
            kind == "Replace" && fuses && leadingSpaces(step) != null -> spacesToStrip = leadingSpaces(step) ?: 0
            kind == "Strip" && content == " " && step["stop"].int == 0 && fuses ->
                spacesToStrip = step["start"].int ?: 0
            kind == "Metaspace" -> {
                replacements += (step["replacement"] as? String ?: "▁") to " "
                spacesToStrip = if (step["prepend_scheme"] == "never") 0 else 1
            }
            else -> throw BundleException("the tokenizer's decoder has a $kind that is not known here: see the docs")
        }
    }

    /** How many spaces a `Replace` takes from the start of the text; null for any other `Replace`. */
    private fun leadingSpaces(step: Any?): Int? {
        val source = step["pattern"]["Regex"] as? String ?: return null
        val parts = (ScalarPattern(source).root as? ScalarPattern.All)?.parts
        if (parts?.size != 2 || step["content"] != "") return null
        val before = parts[0] as? ScalarPattern.Behind ?: return null
        val spaces = parts[1] as? ScalarPattern.Several ?: return null
        val isStart = !before.isPresent && 'a'.code in before.set && ' '.code in before.set
        val isSpaces = (spaces.part as? ScalarPattern.One)?.set?.list == listOf(' '.code) && spaces.least == 1
        return if (isStart && isSpaces) spaces.most else null
    }

    /** A token's bytes, which may be part of a character. */
    fun bytes(token: String): ByteArray {
        if (isByteLevel) return ByteAlphabet.bytes(token)
        if (hasByteTokens && token.length == 6 && token.startsWith("<0x") && token.endsWith('>')) {
            token.substring(3, 5).toIntOrNull(16)?.let { return byteArrayOf(it.toByte()) }
        }
        return replacements.fold(token) { text, (old, new) -> text.replace(old, new) }.toByteArray()
    }
}

/** Text of one sequence of ids as they come; a character spread over several ids comes with the last of them. */
class TextStream internal constructor(private val tokenizer: Tokenizer, private val skipsSpecial: Boolean) {
    // A bad byte spoils itself only where tokens are bytes by name, as SentencePiece has it.
    private val utf8 = Utf8Stream(onePerByte = !tokenizer.decoder.isByteLevel)
    private var spacesToStrip = tokenizer.decoder.spacesToStrip

    /** The text that this id makes certain, often its own, empty in the middle of a character. */
    fun push(id: Int): String {
        if (skipsSpecial && tokenizer.isSpecial(id)) return ""
        return stripped(utf8.push(tokenizer.bytes(id)))
    }

    /** What is left when no id follows: U+FFFD for a character that was never completed. */
    fun finish(): String = stripped(utf8.finish())

    private fun stripped(text: String): String {
        val spaces = minOf(text.takeWhile { it == ' ' }.length, spacesToStrip)
        spacesToStrip = if (spaces < text.length) 0 else spacesToStrip - spaces
        return text.substring(spaces)
    }
}

/**
 * UTF-8 in pieces. A character that is cut off waits for its rest; what is no character becomes U+FFFD: one for each
 * bad byte with [onePerByte], else one for the longest beginning of a character.
 */
internal class Utf8Stream(private val onePerByte: Boolean) {
    private var pending = ByteArray(0)

    fun push(bytes: ByteArray): String = buildString { for (byte in bytes) push(byte, this) }

    fun finish(): String = spoiled().also { pending = ByteArray(0) }

    private fun spoiled(): String = BAD.repeat(if (onePerByte) pending.size else minOf(pending.size, 1))

    private fun push(byte: Byte, result: StringBuilder) {
        val value = byte.toInt() and 0xFF
        if (pending.isNotEmpty()) {
            if (follows(value)) {
                pending += byte
                if (pending.size == length(pending[0].toInt() and 0xFF)) {
                    result.append(String(pending, Charsets.UTF_8))
                    pending = ByteArray(0)
                }
                return
            }
            result.append(finish())
        }
        when {
            value < 0x80 -> result.append(value.toChar())
            length(value) == 0 -> result.append(BAD)
            else -> pending = byteArrayOf(byte)
        }
    }

    /** Bytes of a character that begins so; 0 for a byte that begins none. */
    private fun length(first: Int): Int =
        when (first) {
            in 0xC2..0xDF -> 2
            in 0xE0..0xEF -> 3
            in 0xF0..0xF4 -> 4
            else -> 0
        }

    /** Whether [value] can come next: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
    private fun follows(value: Int): Boolean =
        when (if (pending.size == 1) pending[0].toInt() and 0xFF else 0) {
            0xE0 -> value in 0xA0..0xBF
            0xED -> value in 0x80..0x9F
            0xF0 -> value in 0x90..0xBF
            0xF4 -> value in 0x80..0x8F
            else -> value in 0x80..0xBF
        }

    private companion object {
        const val BAD = "\uFFFD"
    }
}
