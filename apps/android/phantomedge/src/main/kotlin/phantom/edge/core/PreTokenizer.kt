package phantom.edge.core

/** How normalised text is cut into words, as the vocabulary writes them. `isFirst`: the text begins the whole. */
internal fun interface PreTokenizer {
    fun words(text: String, isFirst: Boolean): List<String>

    companion object {
        private const val GPT2 = """'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

        /** The steps of `pre_tokenizer`, in order. Throws [BundleException] for one that is not known here. */
        fun steps(json: Any?): List<PreTokenizer> {
            if (json == null) return emptyList()
            return (json["pretokenizers"] as? List<*> ?: listOf(json)).map { step(it) }
        }

        private fun step(json: Any?): PreTokenizer {
            val kind = json["type"]
            val source = json["pattern"]["Regex"] as? String
            return when {
                kind == "ByteLevel" -> {
                    val pattern = if (json["use_regex"] != false) ScalarPattern(GPT2) else null
                    byteLevel(pattern, json["add_prefix_space"] != false)
                }
                kind == "Split" && source != null && json["behavior"] == "Isolated" && json["invert"] != true -> {
                    val pattern = ScalarPattern(source)
                    PreTokenizer { text, _ -> cut(text, pattern) }
                }
                kind == "Metaspace" -> metaspace(json)
                else -> throw BundleException("the tokenizer cuts words by $kind, not known here: see the docs")
            }
        }

        private fun cut(text: String, pattern: ScalarPattern): List<String> {
            val codes = text.codes()
            return pattern.split(codes).map { String(codes, it.start, it.end - it.start) }
        }

        private fun byteLevel(pattern: ScalarPattern?, addsSpace: Boolean) =
            PreTokenizer { text, _ ->
                val spaced = if (addsSpace && !text.startsWith(' ')) " $text" else text
                (if (pattern == null) listOf(spaced) else cut(spaced, pattern)).map(ByteAlphabet::characters)
            }

        private fun metaspace(json: Any?): PreTokenizer {
            val mark = json["replacement"] as? String ?: "▁"
            val scheme = json["prepend_scheme"] ?: "always"
            val splits = json["split"] != false
            return PreTokenizer { text, isFirst ->
                val marked = text.replace(" ", mark)
                val prepends = !marked.startsWith(mark) && (scheme == "always" || scheme == "first" && isFirst)
                val whole = if (prepends) mark + marked else marked
                val before = Regex("(?=${Regex.escape(mark)})")
                if (splits) whole.split(before).filter { it.isNotEmpty() } else listOf(whole)
            }
        }
    }
}

/** The byte-level vocabulary's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards. */
internal object ByteAlphabet {
    private val characters: CharArray
    private val bytes: Map<Char, Byte>

    init {
        var next = 0x100
        characters =
            CharArray(256) {
                val isPrintable = it in 0x21..0x7E || it in 0xA1..0xAC || it >= 0xAE
                if (isPrintable) it.toChar() else (next++).toChar()
            }
        bytes = characters.withIndex().associate { (byte, character) -> character to byte.toByte() }
    }

    /** The text's UTF-8 bytes as characters. */
    fun characters(text: String): String = buildString {
        for (byte in text.toByteArray()) append(characters[byte.toInt() and 0xFF])
    }

    /** The bytes that a token's characters stand for; the token's own UTF-8 when one stands for none. */
    fun bytes(token: String): ByteArray {
        val values = token.mapNotNull { bytes[it] }
        return if (values.size == token.length) values.toByteArray() else token.toByteArray()
    }
}
