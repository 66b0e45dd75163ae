package phantom.edge.core

/**
 * What an answer may be: one of [choices], or a text that [regex] matches as a whole. The other of the two is null.
 *
 * The answer is then the likeliest step by step among those that fit. How likely each choice is, [Chat.rank] tells.
 */
class Form private constructor(val choices: List<String>?, val regex: String?) {
    override fun equals(other: Any?): Boolean = other is Form && choices == other.choices && regex == other.regex

    override fun hashCode(): Int = 31 * choices.hashCode() + regex.hashCode()

    companion object {
        private const val MOST_CHOICES = 1_000
        private const val LONGEST_CHOICE = 200

        /** 1 to 1,000 different texts of 1 to 200 characters. Throws [InputException] for others. */
        fun choices(texts: List<String>): Form {
            if (texts.size !in 1..MOST_CHOICES) throw InputException("a form has ${texts.size} choices: give 1 to $MOST_CHOICES")
            if (texts.any { it.codes().size !in 1..LONGEST_CHOICE }) {
                throw InputException("a choice must be 1 to $LONGEST_CHOICE characters")
            }
            if (texts.distinct().size < texts.size) throw InputException("a choice is there twice: give different ones")
            return Form(texts.toList(), null)
        }

        /**
         * A regular expression of the toolkit's dialect: literals, `.`, classes such as `[a-z0-9_]`, `\d \w \s`, groups,
         * `|`, `? * + {m,n}`. It takes time in proportion to the text, whatever it is. Throws [InputException] for
         * another, naming what is not known.
         */
        fun regex(pattern: String): Form {
            FormAutomaton(pattern)
            return Form(null, pattern)
        }
    }
}

/** A choice with the probability that it is the answer, given that one of the choices is. */
data class Likelihood(val text: String, val probability: Double)
