package phantom.edge.ar.core

import phantom.edge.core.Form
import phantom.edge.core.InputException

/** A question to choose from, and what its answer may be; null for anything. */
data class Preset(val question: String, val form: Form? = null)

/** `app.json`: what may be changed without touching the code. The web and iOS apps read the same file. */
data class AppConfig(
    val title: String,
    /** Questions to choose from; the first is asked when the app starts. */
    val presets: List<Preset>,
    /** Most tokens of an answer. */
    val longestAnswer: Int,
    /** The least probability of an answer out of a list: below it the app says that it is not sure. */
    val leastConfidence: Double = LEAST_CONFIDENCE,
) {
    init {
        if (title.isEmpty()) throw wrong("title must be text")
        if (presets.size !in 1..MOST_PRESETS) throw wrong("presets must be 1 to $MOST_PRESETS questions")
        presets.forEachIndexed { n, preset -> if (preset.question.isBlank()) throw wrong("${where(n)} must be text") }
        if (longestAnswer < 1) throw wrong("longestAnswer must be at least 1")
        if (leastConfidence !in 0.0..1.0) throw wrong("leastConfidence must be a number from 0 to 1")
    }

    /** What the answer to a question may be; null for anything. */
    fun formOf(question: String): Form? = presets.firstOrNull { it.question == question }?.form

    companion object {
        const val MOST_PRESETS = 12
        const val LEAST_CONFIDENCE = 0.5
        private val PRESET_KEYS = listOf("question", "choices", "regex")

        fun wrong(reason: String) =
            Failure(Failure.Code.SETTINGS, "The app's settings (app.json) are not right: $reason.")

        /** Of a JSON object's members. Throws a [Failure] that names what is wrong. */
        fun of(json: Map<*, *>): AppConfig {
            val presets = json["presets"] as? List<*> ?: throw wrong("presets must be 1 to $MOST_PRESETS questions")
            return AppConfig(
                json["title"] as? String ?: throw wrong("title must be text"),
                presets.mapIndexed(::preset),
                whole(json["longestAnswer"]) ?: throw wrong("longestAnswer must be a number"),
                if ("leastConfidence" !in json) LEAST_CONFIDENCE else number(json["leastConfidence"]) ?: Double.NaN,
            )
        }

        private fun where(number: Int) = "presets: question ${number + 1}"

        private fun number(value: Any?): Double? = (value as? Number)?.toDouble()

        private fun whole(value: Any?): Int? = number(value)?.let { size -> size.toInt().takeIf { it.toDouble() == size } }

        /** A question is text, or an object of the question and the form of its answer. */
        private fun preset(number: Int, json: Any?): Preset {
            val fields = json as? Map<*, *> ?: mapOf("question" to json)
            val question = fields["question"] as? String ?: throw wrong("${where(number)} must be text")
            fields.keys.firstOrNull { it !in PRESET_KEYS }?.let {
                throw wrong("${where(number)} has \"${it.toString().take(40)}\": it may have ${PRESET_KEYS.joinToString()}")
            }
            val (choices, regex) = fields["choices"] to fields["regex"]
            if (choices != null && regex != null) throw wrong("${where(number)} has choices and a regex: give one of them")
            try {
                return Preset(question, choices?.let { Form.choices(texts(it)) } ?: regex?.let { Form.regex(text(it)) })
            } catch (error: InputException) {
                throw wrong("${where(number)}: ${error.message}")
            }
        }

        private fun text(json: Any): String = json as? String ?: throw InputException("its regex must be text")

        private fun texts(json: Any): List<String> =
            (json as? List<*>)?.map { it as? String ?: throw InputException("its choices must be a list of texts") }
                ?: throw InputException("its choices must be a list of texts")
    }
}
