package phantom.edge.core

/**
 * The bytes that each token of a vocabulary adds to an answer, by id; a token without any is in no answer of a form.
 *
 * Sorted, so that tokens with one beginning lie together and a walk over all of them reads each beginning once.
 */
internal class TokenBytes(val pieces: List<ByteArray>) {
    /** The ids with bytes, in the order of these. */
    val order: IntArray = pieces.indices.filter { pieces[it].isNotEmpty() }.sortedWith(::compare).toIntArray()

    /** How many bytes each has in common with the one before it in [order]. */
    val shared: IntArray =
        IntArray(order.size) { n -> if (n == 0) 0 else common(pieces[order[n - 1]], pieces[order[n]]) }

    val longest: Int = pieces.maxOfOrNull { it.size } ?: 0

    private fun compare(a: Int, b: Int): Int {
        val (left, right) = pieces[a] to pieces[b]
        val same = common(left, right)
        if (same == left.size || same == right.size) return left.size - right.size
        return (left[same].toInt() and 0xFF) - (right[same].toInt() and 0xFF)
    }

    private fun common(a: ByteArray, b: ByteArray): Int {
        val most = minOf(a.size, b.size)
        for (n in 0 until most) if (a[n] != b[n]) return n
        return most
    }
}

/** How far an answer is in its pattern. */
internal data class FormPlace(
    val state: FormAutomaton.State,
    /** The bits so far of a character that is not complete, its length in bytes, and how many of them are missing. */
    val bits: Int = 0,
    val length: Int = 0,
    val missing: Int = 0,
    /** Spaces at the very start that the decoder drops: they are no part of the answer. */
    val dropped: Int = 0,
)

/**
 * Which tokens may follow in an answer that is to match a pattern: those after which it can still become a match.
 *
 * A token may end within a character. Masks are kept by the place in the pattern, from one answer to the next.
 */
internal class TokenMasks(pattern: String, private val tokens: TokenBytes, dropped: Int = 0) {
    private val automaton = FormAutomaton(pattern)
    private val masks = HashMap<FormPlace, LongArray>()
    private val places = arrayOfNulls<FormPlace>(tokens.longest + 1)

    /** Where an answer begins: behind one space that is dropped, or any, or as many as stand before an answer with one. */
    val start: FormPlace =
        automaton.step(automaton.start, ' '.code).let { spaced ->
            val isSpaced = spaced != null && dropped <= MOST_SPACES
            FormPlace(automaton.start, dropped = if (isSpaced) dropped else minOf(dropped, 1))
        }

    /** Whether so much is kept that the next answer had better have masks of its own. */
    val isLarge: Boolean
        get() = masks.size > MOST_MASKS

    /** Whether the answer may end here. */
    fun accepts(place: FormPlace): Boolean = place.missing == 0 && place.state.accepts

    /** Whether the answer may end here, and nothing else. */
    fun isComplete(place: FormPlace): Boolean =
        accepts(place) && !automaton.leadsOn(place.state, 0..FormSyntax.LARGEST_CODE)

    /** The place after a token; null when no match begins so. */
    fun advance(place: FormPlace, token: Int): FormPlace? {
        val bytes = tokens.pieces[token]
        if (bytes.isEmpty()) return null
        return bytes.fold(place as FormPlace?) { before, byte -> before?.let { step(it, byte.toInt() and 0xFF) } }
    }

    /** A bit for each id: whether it may follow. */
    fun mask(place: FormPlace): LongArray = masks.getOrPut(place) { walk(place) }

    private fun walk(place: FormPlace): LongArray {
        val mask = LongArray((tokens.pieces.size + 63) / 64)
        places[0] = place
        var depth = 0 // how many bytes of the token before this one led on
        for ((n, id) in tokens.order.withIndex()) {
            if (tokens.shared[n] > depth) continue // it begins as one that did not lead on
            depth = tokens.shared[n]
            val bytes = tokens.pieces[id]
            while (depth < bytes.size) {
                places[depth + 1] = step(places[depth]!!, bytes[depth].toInt() and 0xFF) ?: break
                depth++
            }
            if (depth == bytes.size) mask[id shr 6] = mask[id shr 6] or (1L shl (id and 63))
        }
        return mask
    }

    private fun step(place: FormPlace, byte: Int): FormPlace? {
        if (place.dropped > 0 && byte == ' '.code) return place.copy(dropped = place.dropped - 1)
        if (place.missing > 0) {
            return if (byte !in 0x80..0xBF) null else begun(place.state, place.bits shl 6 or (byte and 0x3F), place.length, place.missing - 1)
        }
        return when (byte) {
            in 0x00..0x7F -> automaton.step(place.state, byte)?.place
            in 0xC2..0xDF -> begun(place.state, byte and 0x1F, 2, 1)
            in 0xE0..0xEF -> begun(place.state, byte and 0x0F, 3, 2)
            in 0xF0..0xF4 -> begun(place.state, byte and 0x07, 4, 3)
            else -> null
        }
    }

    /** The place after the beginning of a character, or all of it; null unless a character that leads on begins so. */
    private fun begun(state: FormAutomaton.State, bits: Int, length: Int, missing: Int): FormPlace? {
        val codes = codes(bits, length, missing)
        if (codes.isEmpty()) return null
        if (missing > 0) return FormPlace(state, bits, length, missing).takeIf { automaton.leadsOn(state, codes) }
        return automaton.step(state, bits)?.place
    }

    /** The characters that begin so: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
    private fun codes(bits: Int, length: Int, missing: Int): IntRange {
        val low = maxOf(bits shl 6 * missing, SMALLEST[length])
        val high = minOf((bits + 1 shl 6 * missing) - 1, FormSyntax.LARGEST_CODE)
        return when {
            low in FormSyntax.SURROGATES -> maxOf(low, FormSyntax.SURROGATES.last + 1)..high
            high in FormSyntax.SURROGATES -> low..FormSyntax.SURROGATES.first - 1
            else -> low..high
        }
    }

    private companion object {
        const val MOST_MASKS = 256
        const val MOST_SPACES = 16
        val SMALLEST = intArrayOf(0, 0, 0x80, 0x800, 0x10000)
    }
}
