package phantom.edge.core

/** One thing that a tokenizer does to text before it looks at it: a step of a `tokenizer.json`. */
internal fun interface Normalizer {
    fun apply(text: String): String

    companion object {
        /** The steps of `normalizer`, in order. Throws [BundleException] for a step that is not known here. */
        fun steps(json: Any?): List<Normalizer> {
            if (json == null) return emptyList()
            val result = ArrayList<Normalizer>()
            for (part in json["normalizers"] as? List<*> ?: listOf(json)) {
                for (next in if (part["normalizers"] == null) listOf(step(part)) else steps(part)) {
                    val before = result.lastOrNull()
                    // A character map comes as thousands of steps in a row: they are one.
                    if (next is CharacterMap && before is CharacterMap) before.add(next) else result += next
                }
            }
            return result
        }

        private fun step(json: Any?): Normalizer {
            val kind = json["type"]
            val content = json["content"] as? String
            val old = json["pattern"]["String"] as? String
            val source = json["pattern"]["Regex"] as? String
            return when {
                kind == "NFC" -> Normalizer { java.text.Normalizer.normalize(it, java.text.Normalizer.Form.NFC) }
                kind == "Prepend" -> {
                    val start = json["prepend"] as? String ?: ""
                    Normalizer { if (it.isEmpty()) it else start + it }
                }
                kind == "Replace" && content != null && !old.isNullOrEmpty() -> Normalizer { it.replace(old, content) }
                kind == "Replace" && content != null && source != null -> replace(ScalarPattern(source), content)
                else ->
                    throw BundleException("the tokenizer's normalizer has a $kind that is not known here: see the docs")
            }
        }

        private fun replace(pattern: ScalarPattern, new: String): Normalizer {
            val list = (pattern.root as? ScalarPattern.One)?.set?.list
            return if (list != null) CharacterMap(list, new) else Normalizer { pattern.replace(it, new) }
        }
    }
}

internal fun List<Normalizer>.apply(text: String): String = fold(text) { done, step -> step.apply(done) }

/** Replacements of single characters, made one after the other: `[abc]` by a text, `[def]` by another, and so on. */
internal class CharacterMap(list: List<Int>, text: String) : Normalizer {
    private class Change(val step: Int, val text: String)

    private var steps = 1
    private val changes = HashMap<Int, List<Change>>() // by code point, in the order of the steps

    init {
        for (code in list) changes[code] = listOf(Change(0, text))
    }

    override fun apply(text: String): String = buildString { for (code in text.codes()) expand(code, 0, this) }

    private fun expand(code: Int, from: Int, result: StringBuilder) {
        val change = changes[code]?.firstOrNull { it.step >= from }
        if (change == null) {
            result.appendCodePoint(code)
            return
        }
        for (next in change.text.codes()) expand(next, change.step + 1, result)
    }

    /** Makes [other] the steps that follow. */
    fun add(other: CharacterMap) {
        for ((code, more) in other.changes) {
            changes[code] = changes[code].orEmpty() + more.map { Change(it.step + steps, it.text) }
        }
        steps += other.steps
    }
}
