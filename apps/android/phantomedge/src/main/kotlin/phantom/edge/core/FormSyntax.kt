package phantom.edge.core

/**
 * The syntax of a regular expression that a whole answer matches, over code points: one dialect in every language of the
 * toolkit (`tests/support/form_vectors.json`).
 */
internal sealed class FormSyntax {
    /** No character. */
    data object Empty : FormSyntax()

    /** One character of [ranges], which are sorted and apart. */
    class One(val ranges: List<IntRange>) : FormSyntax()

    class All(val parts: List<FormSyntax>) : FormSyntax()

    class Either(val ways: List<FormSyntax>) : FormSyntax()

    class Several(val part: FormSyntax, val least: Int, val most: Int) : FormSyntax()

    companion object {
        const val WITHOUT_END = Int.MAX_VALUE
        const val LARGEST_CODE = 0x10FFFF

        /** Halves of characters, which are none. */
        val SURROGATES = 0xD800..0xDFFF

        /** A repetition. That of a repetition is one where it leaves no number out: `(x{0,9}){0,9}` is `x{0,81}`. */
        fun several(part: FormSyntax, least: Int, most: Int): FormSyntax {
            if (most == 0) return Empty
            if (least == 1 && most == 1) return part
            if (part !is Several) return Several(part, least, most)
            // From one more of the outer to the next no number may be left out; the first step is the widest.
            val isGapless = part.most == WITHOUT_END || part.most * least + 1 >= part.least * (least + 1)
            if (least != most && !(isGapless && (least > 0 || part.least <= 1))) return Several(part, least, most)
            val ends = if (most == WITHOUT_END || part.most == WITHOUT_END) WITHOUT_END else most * part.most
            return Several(part.part, least * part.least, ends)
        }

        /** The same code points as sorted ranges that are apart; all other characters with [isNegated]. */
        fun one(ranges: List<IntRange>, isNegated: Boolean = false): One {
            val joined = ArrayList<IntRange>()
            for (range in (if (isNegated) ranges + listOf(SURROGATES) else ranges).sortedBy { it.first }) {
                val before = joined.lastOrNull()
                if (before != null && range.first <= before.last + 1) {
                    joined[joined.size - 1] = before.first..maxOf(before.last, range.last)
                } else {
                    joined += range
                }
            }
            return One(if (isNegated) others(joined) else joined)
        }

        private fun others(ranges: List<IntRange>): List<IntRange> {
            val starts = listOf(0) + ranges.map { it.last + 1 }
            val ends = ranges.map { it.first - 1 } + LARGEST_CODE
            return starts.zip(ends) { start, end -> start..end }.filter { !it.isEmpty() }
        }
    }
}

/** Reads a pattern. [whole] throws [InputException] for one that is not of the dialect, or too large. */
internal class FormReader(pattern: String) {
    /** What was read, and its size: characters and classes, each as often as the largest count has it. */
    private class Sized(val syntax: FormSyntax, val size: Int)

    private val source: IntArray
    private var at = 0
    private var depth = 0

    init {
        val codes = pattern.codes()
        if (codes.size > MOST_CHARACTERS) refuse("has over $MOST_CHARACTERS characters")
        val start = if (codes.firstOrNull() == '^'.code) 1 else 0
        val slashes = codes.dropLast(1).takeLastWhile { it == '\\'.code }.size
        val isAnchored = codes.size > start && codes.last() == '$'.code && slashes % 2 == 0
        source = codes.copyOfRange(start, if (isAnchored) codes.size - 1 else codes.size)
        if (source.isEmpty()) refuse("is empty")
    }

    fun whole(): FormSyntax {
        val read = alternatives()
        if (at < source.size) refuse("has a ) without its (")
        return read.syntax
    }

    private val next: Int
        get() = if (at < source.size) source[at] else -1

    private fun refuse(what: String): Nothing =
        throw InputException("the form's regular expression $what: see the docs for what it may be")

    private fun take(character: Char): Boolean = (next == character.code).also { if (it) at++ }

    private fun sized(syntax: FormSyntax, size: Long): Sized {
        if (size > MOST_STATES) refuse("is too large: over $MOST_STATES characters when its counts are written out")
        return Sized(syntax, size.toInt())
    }

    private fun alternatives(): Sized {
        val ways = ArrayList<Sized>()
        do {
            ways += sequence()
        } while (take('|'))
        if (ways.size == 1) return ways[0]
        return sized(FormSyntax.Either(ways.map { it.syntax }), ways.sumOf { it.size.toLong() })
    }

    private fun sequence(): Sized {
        val parts = ArrayList<Sized>()
        while (at < source.size && next != '|'.code && next != ')'.code) parts += repeated()
        return when (parts.size) {
            0 -> Sized(FormSyntax.Empty, 1)
            1 -> parts[0]
            else -> sized(FormSyntax.All(parts.map { it.syntax }), parts.sumOf { it.size.toLong() })
        }
    }

    private fun repeated(): Sized {
        val part = atom()
        val (least, most) = counts() ?: return part
        when (next) {
            '?'.code -> refuse("has a lazy repetition (?), which is not known here")
            '+'.code -> refuse("has a possessive repetition (+), or two in a row")
            '*'.code, '{'.code -> refuse("has two repetitions in a row: put the first into a group")
        }
        val largest = if (most == FormSyntax.WITHOUT_END) least else most
        return sized(FormSyntax.several(part.syntax, least, most), part.size.toLong() * maxOf(largest, 1))
    }

    private fun counts(): Pair<Int, Int>? {
        if (take('?')) return 0 to 1
        if (take('*')) return 0 to FormSyntax.WITHOUT_END
        if (take('+')) return 1 to FormSyntax.WITHOUT_END
        if (!take('{')) return null
        val least = number()
        val most = if (!take(',')) least else if (next == '}'.code) FormSyntax.WITHOUT_END else number()
        if (!take('}') || least > most) refuse("has a count that is none: write {2}, {2,} or {2,3}")
        return least to most
    }

    private fun number(): Int {
        val start = at
        while (next in '0'.code..'9'.code) at++
        val digits = String(source, start, at - start)
        if (digits.isEmpty()) refuse("has a { that begins no count: write \\{ for the character")
        val value = digits.trimStart('0').ifEmpty { "0" }
        if (value.length > 4 || value.toInt() > MOST_COUNT) refuse("has a count over $MOST_COUNT")
        return value.toInt()
    }

    private fun atom(): Sized {
        val code = next
        at++
        return when (ascii(code)) {
            '(' -> group()
            '[' -> Sized(list(), 1)
            '.' -> Sized(FormSyntax.one(listOf('\n'.code..'\n'.code), isNegated = true), 1)
            '\\' -> Sized(FormSyntax.one(escape()), 1)
            '?', '*', '+' -> refuse("repeats nothing: a ${code.toChar()} follows no character")
            '{' -> refuse("has a { that follows no character: write \\{ for the character")
            '^', '$' -> refuse("has a ${code.toChar()} that is not at its end: write \\${code.toChar()} for the character")
            else -> Sized(FormSyntax.one(listOf(code..code)), 1)
        }
    }

    private fun ascii(code: Int): Char? = if (code in 0..0x7F) code.toChar() else null

    private fun group(): Sized {
        if (take('?') && !take(':')) refuse(extension())
        if (++depth > DEEPEST) refuse("has groups over $DEEPEST deep")
        val inner = alternatives()
        depth--
        if (!take(')')) refuse("has a ( without its )")
        return inner
    }

    /** What a group that begins with `(?` would be elsewhere. */
    private fun extension(): String {
        val rest = String(source, at, minOf(2, source.size - at))
        return when {
            rest.take(1) in listOf("=", "!") || rest in listOf("<=", "<!") -> "has a look-around, which is not known here"
            rest == "P=" -> "has a back reference, which is not known here"
            rest.startsWith(">") -> "has a possessive group, which is not known here"
            rest.take(1).let { it == "-" || it.isNotEmpty() && it[0] in 'a'..'z' } -> "has a flag, which is not known here"
            else -> "has a (? that begins no group: write (?: or ("
        }
    }

    private fun list(): FormSyntax {
        val isNegated = take('^')
        val ranges = ArrayList<IntRange>()
        if (next == ']'.code) refuse("has an empty class, or a ] at its beginning: write \\]")
        while (!take(']')) {
            val first = member()
            val isRange = next == '-'.code && at + 1 < source.size && source[at + 1] != ']'.code
            if (!isRange) {
                ranges += first
                continue
            }
            at++
            ranges += through(first, member())
        }
        return FormSyntax.one(ranges, isNegated)
    }

    private fun through(low: List<IntRange>, high: List<IntRange>): IntRange {
        val (start, end) = low.first().first to high.first().first
        val isSingle = (low + high).all { it.first == it.last }
        if (!isSingle || start > end) refuse("has a range in a class that is none")
        return start..end
    }

    private fun member(): List<IntRange> {
        val code = next
        if (code < 0) refuse("has a [ without its ]")
        at++
        if (code == '['.code) refuse("has a [ in a class: write \\[")
        return if (code == '\\'.code) escape() else listOf(code..code)
    }

    private fun escape(): List<IntRange> {
        val code = next
        if (code < 0) refuse("ends with a \\")
        at++
        CLASSES[ascii(code)]?.let { return it }
        return when (code) {
            'n'.code -> listOf('\n'.code..'\n'.code)
            'r'.code -> listOf('\r'.code..'\r'.code)
            't'.code -> listOf('\t'.code..'\t'.code)
            in '1'.code..'9'.code -> refuse("has a back reference or an unknown escape, \\${code.toChar()}")
            in 'a'.code..'z'.code, in 'A'.code..'Z'.code, '0'.code -> refuse("has an unknown escape, \\${code.toChar()}")
            else -> listOf(code..code)
        }
    }

    companion object {
        const val MOST_CHARACTERS = 2_000
        const val MOST_COUNT = 1_000
        const val MOST_STATES = 10_000L
        const val DEEPEST = 100

        private val DIGITS = listOf('0'.code..'9'.code)
        private val WORDS = DIGITS + listOf('A'.code..'Z'.code, '_'.code..'_'.code, 'a'.code..'z'.code)
        private val SPACES = listOf(0x09..0x0D, 0x20..0x20)
        private val CLASSES =
            mapOf('d' to DIGITS, 'w' to WORDS, 's' to SPACES) +
                mapOf('D' to DIGITS, 'W' to WORDS, 'S' to SPACES).mapValues { FormSyntax.one(it.value, isNegated = true).ranges }
    }
}
