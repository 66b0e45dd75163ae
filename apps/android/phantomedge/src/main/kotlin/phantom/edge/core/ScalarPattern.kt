package phantom.edge.core

/**
 * A regular expression over code points: the part of the language that tokenizers are written in.
 *
 * Engines disagree on what `\s`, `.` and case mean, and a tokenizer must give the same ids on every system. Known are
 * alternatives, groups, `(?i:…)`, lists in brackets, `\s \S \r \n \t \p{L} \p{N}`, `? * + {n} {n,} {n,m}` after a
 * single character and `?` after a group, look-ahead, and look-behind of one character. Throws [BundleException] for
 * anything else, by name.
 */
internal class ScalarPattern(source: String) {
    sealed interface Node

    class One(val set: ScalarSet) : Node

    class All(val parts: List<Node>) : Node

    class Either(val ways: List<Node>) : Node

    /** Greedy; [part] is a single character unless [most] is 1. */
    class Several(val part: Node, val least: Int, val most: Int) : Node

    class Ahead(val part: Node, val isPresent: Boolean) : Node

    class Behind(val set: ScalarSet, val isPresent: Boolean) : Node

    /** A stretch of a text: a match, or what lies between two. */
    class Piece(val start: Int, val end: Int, val isMatch: Boolean)

    val root: Node = PatternParser(source.codes()).whole()

    /**
     * The matches in a text, from left to right, and the stretches between them.
     *
     * Throws [InputException] when the text would take forever.
     */
    fun split(text: IntArray): List<Piece> {
        val pieces = ArrayList<Piece>()
        val matcher = Matcher(text, STEPS_PER_CODE * (text.size + 1L))
        var done = 0
        var at = 0
        while (at < text.size) {
            val end = matcher.match(root, at)
            if (end == null || end == at) {
                at++
                continue
            }
            if (done < at) pieces += Piece(done, at, false)
            pieces += Piece(at, end, true)
            done = end
            at = end
        }
        if (done < text.size) pieces += Piece(done, text.size, false)
        return pieces
    }

    /** The text with every match replaced. */
    fun replace(text: String, new: String): String {
        val codes = text.codes()
        return split(codes).joinToString("") { if (it.isMatch) new else String(codes, it.start, it.end - it.start) }
    }

    private companion object {
        /** Steps that a text of one character may take; more make an expression that cannot be meant. */
        const val STEPS_PER_CODE = 2_000L
    }
}

private class Matcher(private val text: IntArray, private var stepsLeft: Long) {
    /** Where a match that begins at a place ends. */
    fun match(node: ScalarPattern.Node, at: Int): Int? {
        var end: Int? = null
        follow(listOf(node), at) {
            end = it
            true
        }
        return end
    }

    /** Whether all the nodes match in a row, and [then] accepts where they end: the first way in which both are so. */
    private fun follow(nodes: List<ScalarPattern.Node>, at: Int, then: (Int) -> Boolean): Boolean {
        if (nodes.isEmpty()) return then(at)
        if (--stepsLeft <= 0) throw InputException("the text is too long for this tokenizer's expression: ask less")
        val rest = nodes.subList(1, nodes.size)
        return when (val node = nodes[0]) {
            is ScalarPattern.One -> at < text.size && text[at] in node.set && follow(rest, at + 1, then)
            is ScalarPattern.All -> follow(node.parts + rest, at, then)
            is ScalarPattern.Either -> node.ways.any { follow(listOf(it) + rest, at, then) }
            is ScalarPattern.Several -> several(node, rest, at, then)
            is ScalarPattern.Ahead -> follow(listOf(node.part), at) { true } == node.isPresent && follow(rest, at, then)
            is ScalarPattern.Behind ->
                (at > 0 && text[at - 1] in node.set) == node.isPresent && follow(rest, at, then)
        }
    }

    private fun several(
        node: ScalarPattern.Several,
        rest: List<ScalarPattern.Node>,
        at: Int,
        then: (Int) -> Boolean,
    ): Boolean {
        val part = node.part
        if (part !is ScalarPattern.One) {
            return follow(listOf(part) + rest, at, then) || node.least == 0 && follow(rest, at, then)
        }
        var count = 0
        while (count < node.most && at + count < text.size && text[at + count] in part.set) count++
        return (count downTo node.least).any { follow(rest, at + it, then) }
    }
}

private class PatternParser(private val source: IntArray) {
    private var at = 0
    private var depth = 0
    private var ignoresCase = false

    private val next: Char?
        get() = source.getOrNull(at)?.let { if (it < 0x80) it.toChar() else '\uFFFF' }

    private fun unknown(what: String): Nothing =
        throw BundleException("the tokenizer's expression has $what, which is not known here: see the docs")

    private fun take(text: String): Boolean {
        if (at + text.length > source.size || text.indices.any { source[at + it] != text[it].code }) return false
        at += text.length
        return true
    }

    private fun takeCode(): Int = source.getOrNull(at++) ?: unknown("an end where a character should be")

    fun whole(): ScalarPattern.Node {
        val node = alternatives()
        if (at != source.size) unknown("a bracket without its partner")
        return node
    }

    private fun alternatives(): ScalarPattern.Node {
        if (++depth >= DEPTH_LIMIT) unknown("more than $DEPTH_LIMIT groups in one another")
        val ways = ArrayList<ScalarPattern.Node>()
        do {
            val parts = ArrayList<ScalarPattern.Node>()
            while (next != null && next != '|' && next != ')') parts += quantified()
            ways += parts.singleOrNull() ?: ScalarPattern.All(parts)
        } while (take("|"))
        depth--
        return ways.singleOrNull() ?: ScalarPattern.Either(ways)
    }

    private fun quantified(): ScalarPattern.Node {
        val node = atom()
        val (least, most) = bounds() ?: return node
        if (next == '?' || next == '+' || next == '*') unknown("a lazy or possessive repetition")
        if (node is ScalarPattern.Ahead || node is ScalarPattern.Behind) unknown("a repeated condition")
        if (node !is ScalarPattern.One && most != 1) unknown("a repeated group")
        return ScalarPattern.Several(node, least, most)
    }

    private fun bounds(): Pair<Int, Int>? {
        if (take("?")) return 0 to 1
        if (take("*")) return 0 to Int.MAX_VALUE
        if (take("+")) return 1 to Int.MAX_VALUE
        if (!take("{")) return null
        val least = number()
        val most = if (!take(",")) least else if (next == '}') Int.MAX_VALUE else number()
        if (!take("}") || least > most || most == 0) unknown("an odd number of repetitions")
        return least to most
    }

    private fun number(): Int {
        val start = at
        while (next?.isDigit() == true) at++
        if (at - start !in 1..5) unknown("an odd number of repetitions")
        return String(source, start, at - start).toInt()
    }

    private fun atom(): ScalarPattern.Node =
        when {
            take("(?=") -> ScalarPattern.Ahead(closed(), true)
            take("(?!") -> ScalarPattern.Ahead(closed(), false)
            take("(?<=") -> ScalarPattern.Behind(single(), true)
            take("(?<!") -> ScalarPattern.Behind(single(), false)
            take("(?i:") -> {
                val before = ignoresCase
                ignoresCase = true
                closed().also { ignoresCase = before }
            }
            take("(?:") -> closed()
            take("(?") -> unknown("an extension of groups")
            take("(") -> closed()
            take("[") -> ScalarPattern.One(list())
            else -> ScalarPattern.One(ScalarSet(listOf(member()), false, ignoresCase))
        }

    private fun closed(): ScalarPattern.Node {
        val node = alternatives()
        if (!take(")")) unknown("a bracket without its partner")
        return node
    }

    private fun single(): ScalarSet =
        (closed() as? ScalarPattern.One)?.set ?: unknown("a look-behind of more than one character")

    /** One character outside brackets. */
    private fun member(): ScalarSet.Member {
        val code = takeCode()
        if (code == '\\'.code) return escape()
        if (code < 0x80 && code.toChar() in "?*+{}.^$]") unknown("a bare ${code.toChar()}")
        return ScalarSet.Member(code)
    }

    private fun list(): ScalarSet {
        val isNegated = take("^")
        val members = ArrayList<ScalarSet.Member>()
        while (!take("]")) {
            if (next == '[' || next == '&' && source.getOrNull(at + 1) == '&'.code) unknown("a list in a list")
            val member = listed()
            val isRange = next == '-' && source.getOrNull(at + 1).let { it != null && it != ']'.code }
            if (isRange) at++
            members += if (isRange) through(member, listed()) else member
        }
        if (members.isEmpty()) unknown("an empty list")
        return ScalarSet(members, isNegated, ignoresCase)
    }

    private fun listed(): ScalarSet.Member {
        val code = takeCode()
        return if (code == '\\'.code) escape() else ScalarSet.Member(code)
    }

    private fun through(first: ScalarSet.Member, last: ScalarSet.Member): ScalarSet.Member {
        val (low, high) = first.range to last.range
        if (low == null || high == null || low.first > high.first) unknown("an odd range")
        return ScalarSet.Member(low.first..high.first)
    }

    private fun escape(): ScalarSet.Member {
        if (take("p{L}")) return ScalarSet.LETTER
        if (take("p{N}")) return ScalarSet.NUMBER
        val code = takeCode()
        return when {
            code == 's'.code -> ScalarSet.SPACE
            code == 'S'.code -> ScalarSet.NOT_SPACE
            code == 'n'.code -> ScalarSet.Member('\n'.code)
            code == 'r'.code -> ScalarSet.Member('\r'.code)
            code == 't'.code -> ScalarSet.Member('\t'.code)
            code < 0x80 && code.toChar().isLetterOrDigit() -> unknown("\\${code.toChar()}")
            else -> ScalarSet.Member(code)
        }
    }

    private companion object {
        const val DEPTH_LIMIT = 20
    }
}
