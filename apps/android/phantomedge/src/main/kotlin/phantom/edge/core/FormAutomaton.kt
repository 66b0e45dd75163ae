package phantom.edge.core

/**
 * A pattern as an automaton over code points: states are made when a text first reaches them, so that a text takes time
 * in proportion to its length, whatever the pattern.
 *
 * Java's own expressions backtrack without a bound, and cannot say whether a text may still become a match.
 *
 * Throws [InputException] for a pattern that is not of the dialect (`FormReader`), or that no text matches.
 */
internal class FormAutomaton(pattern: String) {
    private val nodes = FormNodes(FormReader(pattern).whole())
    private val alphabet = FormAlphabet(nodes.sets)
    private val known = HashMap<Key, State>()
    private val marks = IntArray(nodes.count)
    private var mark = 0

    /** What the known states take, in numbers that are kept. */
    private var taken = 0L

    /** Where texts are that go on in the same ways. */
    class State internal constructor(internal val nodes: IntArray, val accepts: Boolean) {
        /** The state after a character of each class, as far as it is known. */
        internal var next: Array<State?>? = null

        /** Between two characters. */
        internal val place = FormPlace(this)
    }

    private class Key(private val nodes: IntArray) {
        override fun equals(other: Any?): Boolean = other is Key && nodes.contentEquals(other.nodes)

        override fun hashCode(): Int = nodes.contentHashCode()
    }

    /** Where a text begins. */
    val start: State =
        state(Ints().apply { add(nodes.start) })
            ?: throw InputException("no text matches the form's regular expression: mend it")

    /** The state after a code point; null when no match begins so. */
    fun step(state: State, code: Int): State? = stepClass(state, alphabet.classOf(code))

    /** Whether any code point of a range leads on. */
    fun leadsOn(state: State, codes: IntRange): Boolean = alphabet.anyOf(codes) { stepClass(state, it) != null }

    private fun stepClass(state: State, kind: Int): State? {
        val next = state.next ?: arrayOfNulls<State>(alphabet.size).also { state.next = it }
        val after =
            next[kind] ?: run {
                val targets = Ints()
                for (node in state.nodes) if (alphabet.holds(nodes.setOf(node), kind)) targets.add(nodes.nextOf(node))
                (state(targets) ?: NOWHERE).also { next[kind] = it }
            }
        return after.takeIf { it !== NOWHERE }
    }

    /** The state of everything that is reached from [targets] without a character; null for nothing. */
    private fun state(targets: Ints): State? {
        val reached = closure(targets)
        if (reached.isEmpty()) return null
        val key = Key(reached)
        known[key]?.let { return it }
        taken += reached.size + alphabet.size
        if (taken > LIMIT) forget(reached.size + alphabet.size)
        val accepts = reached[0] == FormNodes.ACCEPT
        return State(if (accepts) reached.copyOfRange(1, reached.size) else reached, accepts).also { known[key] = it }
    }

    /** A text may reach more states than there is room for: they are made again when they are needed. */
    private fun forget(size: Int) {
        known.values.forEach { it.next = null }
        known.clear()
        taken = size.toLong()
    }

    private fun closure(targets: Ints): IntArray {
        mark++
        val reached = Ints()
        while (targets.size > 0) {
            val node = targets.removeLast()
            if (marks[node] == mark || !nodes.isLive(node)) continue
            marks[node] = mark
            if (nodes.isFork(node)) {
                targets.add(nodes.otherOf(node))
                targets.add(nodes.nextOf(node))
            } else {
                reached.add(node)
            }
        }
        return reached.toArray().apply { sort() }
    }

    private companion object {
        val NOWHERE = State(IntArray(0), false)
        const val LIMIT = 4_000_000L
    }
}

/**
 * Thompson's construction: nodes that take a character of a set and go on, and forks that take none and go on in two
 * ways. [ACCEPT] ends a match.
 */
internal class FormNodes(syntax: FormSyntax) {
    /** The different sets of code points. */
    val sets = ArrayList<List<IntRange>>()
    private val setNumbers = HashMap<List<IntRange>, Int>()
    private val kinds = Ints()
    private val nexts = Ints()
    private val others = Ints()
    private val live: BooleanArray
    val start: Int

    init {
        add(FORK, ACCEPT, ACCEPT) // the accepting node, which goes nowhere
        start = link(syntax, ACCEPT)
        live = reachingTheEnd()
    }

    val count: Int
        get() = kinds.size

    fun isFork(node: Int): Boolean = node != ACCEPT && kinds[node] == FORK

    fun setOf(node: Int): Int = kinds[node]

    fun nextOf(node: Int): Int = nexts[node]

    fun otherOf(node: Int): Int = others[node]

    /** Whether a match can end from here. */
    fun isLive(node: Int): Boolean = live[node]

    private fun add(kind: Int, next: Int, other: Int): Int {
        kinds.add(kind)
        nexts.add(next)
        others.add(other)
        return count - 1
    }

    /** Nodes for [syntax] in front of [next]: the first of them. */
    private fun link(syntax: FormSyntax, next: Int): Int =
        when (syntax) {
            is FormSyntax.Empty -> next
            is FormSyntax.One -> add(setNumbers.getOrPut(syntax.ranges) { sets.apply { add(syntax.ranges) }.size - 1 }, next, next)
            is FormSyntax.All -> syntax.parts.foldRight(next, ::link)
            is FormSyntax.Either ->
                syntax.ways.dropLast(1).foldRight(link(syntax.ways.last(), next)) { way, rest -> add(FORK, link(way, next), rest) }
            is FormSyntax.Several -> several(syntax, next)
        }

    private fun several(syntax: FormSyntax.Several, next: Int): Int {
        var first = next
        if (syntax.most == FormSyntax.WITHOUT_END) {
            first = add(FORK, next, next)
            nexts[first] = link(syntax.part, first)
        } else {
            repeat(syntax.most - syntax.least) { first = add(FORK, link(syntax.part, first), next) }
        }
        repeat(syntax.least) { first = link(syntax.part, first) }
        return first
    }

    /** Backwards from the end, over everything but sets that hold no character. */
    private fun reachingTheEnd(): BooleanArray {
        val before = Array(count) { Ints() }
        for (node in 1 until count) {
            if (!isFork(node) && sets[kinds[node]].isEmpty()) continue
            before[nexts[node]].add(node)
            if (others[node] != nexts[node]) before[others[node]].add(node)
        }
        val reaching = BooleanArray(count)
        val waiting = Ints()
        waiting.add(ACCEPT)
        while (waiting.size > 0) {
            val node = waiting.removeLast()
            if (reaching[node]) continue
            reaching[node] = true
            for (n in 0 until before[node].size) waiting.add(before[node][n])
        }
        return reaching
    }

    companion object {
        const val ACCEPT = 0
        private const val FORK = -1
    }
}

/** Code points that no set of a pattern tells apart are one class: few classes, however many code points. */
internal class FormAlphabet(sets: List<List<IntRange>>) {
    /** Where a stretch of one class begins. */
    private val starts: IntArray
    val classes: IntArray
    private val holding: Array<BooleanArray>
    private val ascii: IntArray // most characters are of these
    val size: Int

    init {
        val edges = sets.flatten().flatMap { listOf(it.first, it.last + 1) } + 0
        starts = edges.filter { it <= FormSyntax.LARGEST_CODE }.distinct().sorted().toIntArray()
        val members = List(starts.size) { ArrayList<Int>() }
        sets.forEachIndexed { number, ranges ->
            for (range in ranges) for (place in placeOf(range.first)..placeOf(range.last)) members[place] += number
        }
        val numbers = HashMap<List<Int>, Int>()
        classes = IntArray(starts.size) { place -> numbers.getOrPut(members[place]) { numbers.size } }
        size = numbers.size
        holding = Array(sets.size) { BooleanArray(size) }
        ascii = IntArray(0x80) { classes[placeOf(it)] }
        members.forEachIndexed { place, numbersOfSets -> for (set in numbersOfSets) holding[set][classes[place]] = true }
    }

    fun classOf(code: Int): Int = if (code < ascii.size) ascii[code] else classes[placeOf(code)]

    /** Whether a class of some characters is so. */
    inline fun anyOf(codes: IntRange, isSo: (Int) -> Boolean): Boolean {
        for (place in placeOf(codes.first)..placeOf(codes.last)) if (isSo(classes[place])) return true
        return false
    }

    fun holds(set: Int, kind: Int): Boolean = holding[set][kind]

    fun placeOf(code: Int): Int {
        val place = starts.binarySearch(code)
        return if (place >= 0) place else -place - 2
    }
}

/** A list of numbers that grows, without an object for each. */
internal class Ints {
    private var values = IntArray(4)
    var size = 0
        private set

    operator fun get(place: Int): Int = values[place]

    operator fun set(place: Int, value: Int) {
        values[place] = value
    }

    fun add(value: Int) {
        if (size == values.size) values = values.copyOf(2 * size)
        values[size++] = value
    }

    fun removeLast(): Int = values[--size]

    fun toArray(): IntArray = values.copyOf(size)
}
