package phantom.edge.core

/** One character of a regular expression: `a`, `\s`, `\p{L}`, `[^\r\n\p{L}]`… */
internal class ScalarSet(val members: List<Member>, private val isNegated: Boolean, private val ignoresCase: Boolean) {
    /** What a set holds, by itself: the code points of [range], or a class of characters. */
    class Member(val range: IntRange?, val test: (Int) -> Boolean) {
        constructor(range: IntRange) : this(range, { it in range })

        constructor(code: Int) : this(code..code)
    }

    operator fun contains(code: Int): Boolean {
        val isMember = members.any { it.test(code) } || ignoresCase && members.any { it.test(folded(code)) }
        return isMember != isNegated
    }

    /** The code points of the set, when it is nothing but a list of them. */
    val list: List<Int>?
        get() =
            if (isNegated || ignoresCase || members.any { it.range == null || it.range.first != it.range.last }) null
            else members.mapNotNull { it.range?.first }

    companion object {
        val SPACE = Member(null, ::isSpace)
        val NOT_SPACE = Member(null) { !isSpace(it) }
        val LETTER = Member(null) { Character.getType(it).toByte() in LETTERS }
        val NUMBER = Member(null) { Character.getType(it).toByte() in NUMBERS }

        private val LETTERS =
            setOf(
                Character.UPPERCASE_LETTER, Character.LOWERCASE_LETTER, Character.TITLECASE_LETTER,
                Character.MODIFIER_LETTER, Character.OTHER_LETTER,
            )
        private val NUMBERS = setOf(Character.DECIMAL_DIGIT_NUMBER, Character.LETTER_NUMBER, Character.OTHER_NUMBER)

        /** `\s`: Unicode's White_Space, which Java's and Android's own classes each miss in part. */
        fun isSpace(code: Int): Boolean =
            when (code) {
                in 0x09..0x0D, 0x20, 0x85, 0xA0, 0x1680 -> true
                in 0x2000..0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000 -> true
                else -> false
            }

        /** The small letter that a character is another case of. */
        private fun folded(code: Int): Int = if (code == 0x17F) 's'.code else Character.toLowerCase(code)
    }
}

/** Code points of a text. Throws [InputException] for one that is not valid Unicode. */
internal fun String.codes(): IntArray {
    val codes = codePoints().toArray()
    if (codes.any { it in 0xD800..0xDFFF }) throw InputException("the text has half a character: mend it")
    return codes
}
