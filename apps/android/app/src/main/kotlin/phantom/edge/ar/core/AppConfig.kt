package phantom.edge.ar.core

/** `app.json`: what may be changed without touching the code. The web and iOS apps read the same file. */
data class AppConfig(
    val title: String,
    /** Questions to choose from; the first is asked when the app starts. */
    val presets: List<String>,
    /** Most tokens of an answer. */
    val longestAnswer: Int,
) {
    init {
        if (title.isEmpty()) throw wrong("title must be text")
        if (presets.size !in 1..MOST_PRESETS || presets.any { it.isBlank() }) {
            throw wrong("presets must be 1 to $MOST_PRESETS questions")
        }
        if (longestAnswer < 1) throw wrong("longestAnswer must be at least 1")
    }

    companion object {
        const val MOST_PRESETS = 12

        fun wrong(reason: String) =
            Failure(Failure.Code.SETTINGS, "The app's settings (app.json) are not right: $reason.")
    }
}
