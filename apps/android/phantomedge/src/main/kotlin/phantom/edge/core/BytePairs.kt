package phantom.edge.core

import java.util.PriorityQueue

/**
 * Byte-pair encoding: the `model` of a `tokenizer.json`, with its vocabulary.
 *
 * Throws [BundleException] for a model that is not byte-pair encoding, or not as it is known here.
 */
internal class BytePairs(json: Any?) {
    private class Merge(val rank: Int, val id: Int)

    /** Every token's text with its id. */
    val tokens: Map<String, Int>
    private val merges: Map<Long, Merge>
    private val bytes: List<Int?> // the ids of <0x00> to <0xFF>, with byte fallback only
    private val unknown: Int?
    private val fusesUnknown: Boolean
    private val ignoresMerges: Boolean

    init {
        val members = json["vocab"] as? Map<*, *>
        if (members == null || json["type"] ?: "BPE" != "BPE") {
            throw BundleException("the tokenizer is not byte-pair encoding: see the docs")
        }
        for (odd in listOf("dropout", "continuing_subword_prefix", "end_of_word_suffix")) {
            if (json[odd] !in listOf(null, "", 0.0)) {
                throw BundleException("the tokenizer has a $odd, which is not known here: see the docs")
            }
        }
        tokens = HashMap(members.size * 2)
        for ((text, id) in members) {
            tokens[text as String] =
                id.int?.takeIf { it >= 0 }
                    ?: throw BundleException("the tokenizer's vocabulary is damaged: export the bundle again")
        }
        merges = HashMap()
        for ((rank, item) in (json["merges"] as? List<*> ?: emptyList<Any?>()).withIndex()) addMerge(merges, rank, item)
        val fallsBack = json["byte_fallback"] as? Boolean ?: false
        bytes = if (fallsBack) (0..255).map { tokens["<0x%02X>".format(it)] } else emptyList()
        unknown = (json["unk_token"] as? String)?.let { tokens[it] }
        fusesUnknown = json["fuse_unk"] as? Boolean ?: false
        ignoresMerges = json["ignore_merges"] as? Boolean ?: false
    }

    /** `["a", "b"]`, or `"a b"` in older files. */
    private fun addMerge(merges: HashMap<Long, Merge>, rank: Int, item: Any?) {
        val parts = item as? List<*> ?: (item as? String)?.split(' ')
        val (a, b) = if (parts?.size == 2) tokens[parts[0]] to tokens[parts[1]] else null to null
        val both = if (a != null && b != null) tokens[parts!![0] as String + parts[1]] else null
        if (both == null) throw BundleException("the tokenizer's merges are damaged: export the bundle again")
        merges[pair(a!!, b!!)] = Merge(rank, both)
    }

    private fun pair(a: Int, b: Int): Long = a.toLong() shl 32 or b.toLong()

    /** Ids of one word. */
    fun encode(word: String): List<Int> {
        if (word.isEmpty()) return emptyList()
        if (ignoresMerges) tokens[word]?.let { return listOf(it) }
        return merged(symbols(word))
    }

    /** An id per character, or per byte of one that has none. */
    private fun symbols(word: String): List<Int> {
        val result = ArrayList<Int>(word.length)
        var waiting = false // an unknown, held back because the next one may join it
        for (code in word.codes()) {
            val text = String(Character.toChars(code))
            val id = tokens[text]
            val ids = if (bytes.isEmpty()) listOf(null) else text.toByteArray().map { bytes[it.toInt() and 0xFF] }
            if (id != null) {
                if (waiting) result += unknown!!
                waiting = false
                result += id
            } else if (null !in ids) {
                result += ids.filterNotNull()
            } else if (unknown != null) {
                if (waiting && !fusesUnknown) result += unknown
                waiting = true
            }
        }
        if (waiting) result += unknown!!
        return result
    }

    private class Candidate(val rank: Int, val id: Int, val left: Int, val right: Int, val pair: Long)

    /** Joins the pair of the lowest rank, the leftmost of equals, until none is left. */
    private fun merged(symbols: List<Int>): List<Int> {
        val ids = symbols.toIntArray()
        val next = IntArray(ids.size) { it + 1 }
        val previous = IntArray(ids.size) { it - 1 }
        val queue = PriorityQueue<Candidate>(11, compareBy({ it.rank }, { it.left }))

        fun offer(left: Int) {
            if (left < 0 || next[left] >= ids.size) return
            val pair = pair(ids[left], ids[next[left]])
            merges[pair]?.let { queue += Candidate(it.rank, it.id, left, next[left], pair) }
        }
        ids.indices.forEach(::offer)
        while (true) {
            val best = queue.poll() ?: break
            val (left, right) = best.left to best.right
            val stand = ids[left] != GONE && ids[right] != GONE && next[left] == right
            if (!stand || pair(ids[left], ids[right]) != best.pair) continue // one of the two has been joined since
            ids[left] = best.id
            ids[right] = GONE
            next[left] = next[right]
            if (next[left] < ids.size) previous[next[left]] = left
            offer(previous[left])
            offer(left)
        }
        return ids.filter { it != GONE }
    }

    private companion object {
        const val GONE = -1
    }
}
