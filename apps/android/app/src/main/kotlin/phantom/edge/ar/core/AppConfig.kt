package phantom.edge.ar.core

import phantom.edge.core.Crop
import phantom.edge.core.Form
import phantom.edge.core.InputException
import phantom.edge.core.Sampling

/**
 * A question to choose from, and what its answer may be, null for anything. [labels] are shown instead of the question: by
 * language, or under "" in all of them.
 */
data class Preset(val question: String, val form: Form? = null, val labels: Map<String, String> = emptyMap()) {
    /** What is shown of it in a language, such as `de`. */
    fun shown(language: String): String = labels[language] ?: labels[""] ?: question
}

/**
 * `app.json`: what may be changed without touching the code. The web and iOS apps read the same file; what is for one of
 * them alone (`languages`, `strings`) is left to it.
 */
data class AppConfig(
    val title: String,
    /** Questions to choose from; the first is asked when the app starts. */
    val presets: List<Preset>,
    /** Most tokens of an answer. */
    val longestAnswer: Int,
    /** The least probability of an answer: below it the app says that it is not sure. */
    val leastConfidence: Double = LEAST_CONFIDENCE,
    /** The size that the square around the pin begins with, one of [Crop.SIZES]. */
    val crop: Double = Crop.DEFAULT_SIZE,
    val sampling: Sampling = GREEDY,
    /** 0xRRGGBB; null for the app's own. */
    val accent: Int? = null,
) {
    init {
        if (title.isEmpty()) throw wrong("title must be text")
        if (presets.size !in 1..MOST_PRESETS) throw wrong("presets must be 1 to $MOST_PRESETS questions")
        presets.forEachIndexed { n, preset -> if (preset.question.isBlank()) throw wrong("${where(n)} must be text") }
        if (longestAnswer < 1) throw wrong("longestAnswer must be at least 1")
        if (leastConfidence !in 0.0..1.0) throw wrong("leastConfidence must be a number from 0 to 1")
        if (crop !in Crop.SIZES) throw wrong("crop must be a number from 0.1 to 1")
    }

    /** What the answer to a question may be; null for anything. */
    fun formOf(question: String): Form? = presets.firstOrNull { it.question == question }?.form

    /** What is shown of a question in a language, such as `de`: a preset's label, or the question itself. */
    fun shown(question: String, language: String): String =
        presets.firstOrNull { it.question == question }?.shown(language) ?: question

    companion object {
        const val MOST_PRESETS = 12
        const val LEAST_CONFIDENCE = 0.5
        private const val LONGEST_TEXT = 500
        private val GREEDY = Sampling(seed = 0)
        private val KEYS =
            listOf("title", "presets", "longestAnswer", "leastConfidence", "languages", "strings", "theme", "crop", "sampling")
        private val PRESET_KEYS = listOf("question", "choices", "regex", "label")
        private val LANGUAGES = listOf("en", "de", "fr")
        private val SCHEMES = listOf("auto", "light", "dark")
        private val COLOUR = Regex("#([0-9a-fA-F]{6})")

        fun wrong(reason: String) =
            Failure(Failure.Code.SETTINGS, "The app's settings (app.json) are not right: $reason.")

        /** Of a JSON object's members. Throws a [Failure] that names what is wrong. */
        fun of(json: Map<*, *>): AppConfig {
            allow(json, "it", KEYS)
            val presets = json["presets"] as? List<*> ?: throw wrong("presets must be 1 to $MOST_PRESETS questions")
            return AppConfig(
                json["title"] as? String ?: throw wrong("title must be text"),
                presets.mapIndexed(::preset),
                whole(json["longestAnswer"]) ?: throw wrong("longestAnswer must be a number"),
                numberOr(json, "leastConfidence", LEAST_CONFIDENCE),
                numberOr(json, "crop", Crop.DEFAULT_SIZE),
                if ("sampling" in json) sampling(json["sampling"]) else GREEDY,
                json["theme"]?.let(::accent),
            )
        }

        private fun where(number: Int) = "presets: question ${number + 1}"

        private fun number(value: Any?): Double? = (value as? Number)?.toDouble()

        private fun whole(value: Any?): Int? = number(value)?.let { size -> size.toInt().takeIf { it.toDouble() == size } }

        /** What is no number is out of every range. */
        private fun numberOr(json: Map<*, *>, key: String, usual: Double) =
            if (key in json) number(json[key]) ?: Double.NaN else usual

        private fun allow(json: Map<*, *>, where: String, keys: List<String>) {
            val odd = json.keys.firstOrNull { it !in keys } ?: return
            throw wrong("$where has \"${odd.toString().take(40)}\": it may have ${keys.joinToString()}")
        }

        /** A question is text, or an object of the question, the form of its answer, and what is shown of it. */
        private fun preset(number: Int, json: Any?): Preset {
            val where = where(number)
            val fields = json as? Map<*, *> ?: mapOf("question" to json)
            val question = fields["question"] as? String ?: throw wrong("$where must be text")
            allow(fields, where, PRESET_KEYS)
            val (choices, regex) = fields["choices"] to fields["regex"]
            if (choices != null && regex != null) throw wrong("$where has choices and a regex: give one of them")
            val labels = if ("label" in fields) labels("$where: its label", fields["label"]) else emptyMap()
            try {
                val form = choices?.let { Form.choices(texts(it)) } ?: regex?.let { Form.regex(text(it)) }
                return Preset(question, form, labels)
            } catch (error: InputException) {
                throw wrong("$where: ${error.message}")
            }
        }

        private fun labels(where: String, json: Any?): Map<String, String> {
            val byLanguage = json as? Map<*, *> ?: return mapOf("" to label(where, json))
            allow(byLanguage, where, LANGUAGES)
            return byLanguage.entries.associate { (language, words) -> "$language" to label("$where in $language", words) }
        }

        private fun label(where: String, json: Any?): String =
            (json as? String)?.takeIf { it.isNotBlank() && it.length <= LONGEST_TEXT }
                ?: throw wrong("$where must be text of 1 to $LONGEST_TEXT characters")

        /** What is not given is as usual: the likeliest token. A seed that is null is another one for each answer. */
        private fun sampling(json: Any?): Sampling {
            val fields = json as? Map<*, *> ?: throw wrong("sampling must be an object")
            allow(fields, "sampling", listOf("temperature", "topP", "topK", "seed"))
            val drawsSeed = "seed" in fields && fields["seed"] == null
            try {
                return Sampling(
                    numberOr(fields, "temperature", 0.0),
                    numberOr(fields, "topP", 1.0),
                    if (drawsSeed) null else count(fields, "seed"),
                    count(fields, "topK").toInt(),
                )
            } catch (error: InputException) {
                throw wrong("sampling: ${error.message}")
            }
        }

        private fun count(fields: Map<*, *>, key: String): Long {
            val value = numberOr(fields, key, 0.0)
            return value.toLong().takeIf { it.toDouble() == value && it >= 0 }
                ?: throw InputException("$key must be a whole number from 0")
        }

        /** The colour of a theme. */
        private fun accent(json: Any): Int? {
            val theme = json as? Map<*, *> ?: throw wrong("theme must be an object")
            allow(theme, "theme", listOf("accent", "scheme"))
            if ("scheme" in theme && theme["scheme"] !in SCHEMES) throw wrong("theme: scheme must be auto, light or dark")
            if (theme["accent"] == null) return null
            val colour = (theme["accent"] as? String)?.let(COLOUR::matchEntire)
            return colour?.groupValues?.get(1)?.toInt(16) ?: throw wrong("theme: accent must be a colour as #rrggbb")
        }

        private fun text(json: Any): String = json as? String ?: throw InputException("its regex must be text")

        private fun texts(json: Any): List<String> =
            (json as? List<*>)?.map { it as? String ?: throw InputException("its choices must be a list of texts") }
                ?: throw InputException("its choices must be a list of texts")
    }
}
