package phantom.edge.ar.core

import java.util.Locale

/**
 * What the app says by itself, in English; the resources (`strings.xml`) have each, as `say_` and its name, in the
 * languages of the app. Only what whoever builds the app has to mend (`app.json`, addresses) is in English everywhere.
 */
enum class Phrase(private val english: String) {
    AIM_AT_PIN("Point the camera at the pin"),
    ANSWERING("Answering"),
    BUILD_AGAIN("%1\$s If it stays so, build the app again."),
    CAMERA_ALLOW("Allow the camera in Settings, or use a picture."),
    CAMERA_IN_USE("Another app uses the camera. Close it and try again."),
    CAMERA_MISSING("This phone has no camera. Use a picture instead."),
    CAMERA_SHUT("The camera does not open. Close other apps that use it."),
    CAMERA_TAKEN("The camera was taken by another app."),
    COOLING("Cooling down"),
    FACT_MODEL("Model"),
    FACT_PIXELS("%1\$s × %1\$s pixels"),
    FACT_READY_AFTER("Ready after"),
    FACT_RUNS_ON("Runs on"),
    FACT_SEES("Sees"),
    FAST("Fast, %1\$s pixels"),
    FETCHING("Fetching the model"),
    FETCHING_NPU("Fetching the part for the NPU"),
    FINE("Fine, %1\$s pixels"),
    LOADING("Loading"),
    LOADING_MODEL("Loading the model"),
    LOADING_PART("Loading %1\$s"),
    LOOKING("Looking"),
    MEDIUM("Medium, %1\$s pixels"),
    MEMORY_FULL("This phone ran out of memory. Close other apps and try again."),
    MODEL_READY("The model is ready."),
    NO_ANSWER("No answer"),
    NO_NPU_PART("the app has no part for an NPU"),
    NOT_SURE("Not sure"),
    OVER("over %1\$s"),
    PAUSED("Paused"),
    PAUSED_HELD("Paused. The picture is held."),
    PERHAPS("perhaps %1\$s, %2\$s"),
    PICTURE("Picture"),
    PICTURE_UNREADABLE("This picture cannot be read. Choose another one."),
    PREPARING("Preparing"),
    REACH_SHARE("%1\$s of the shorter side"),
    REACH_WHOLE("The whole picture"),
    READY("Ready"),
    RESUMED("Resumed."),
    SELF_TEST("Self-test"),
    STOPPED("Stopped"),
    SURE("%1\$s sure"),
    TAP_SURFACE("Tap a surface to pin an answer"),
    TITLE_AR("AR is not available"),
    TITLE_CAMERA_BUSY("The camera is in use"),
    TITLE_CAMERA_REFUSED("The camera is not allowed"),
    TITLE_MEMORY("Out of memory"),
    TITLE_MODEL("The model cannot be used"),
    TITLE_NETWORK("The model cannot be fetched"),
    TITLE_NO_CAMERA("No camera"),
    TITLE_PICTURE("Not a picture"),
    TITLE_QUESTION("This cannot be asked"),
    TITLE_RUNS("The model does not run"),
    TITLE_STORAGE("Not enough storage"),
    UNDER("under %1\$s"),
    UNPACKING("Unpacking the model"),
    WARM("Warm, slower"),
    ;

    /** In the user's language, with [values] in the places of `%1$s`, `%2$s` and so on. */
    fun text(vararg values: Any): String = String.format(Locale.ROOT, lookUp?.invoke(this) ?: english, *values)

    companion object {
        @Volatile private var lookUp: ((Phrase) -> String)? = null

        /** From now on phrases are what [lookUp] gives; with null, as before the first call, they are English. */
        fun use(lookUp: ((Phrase) -> String)?) {
            this.lookUp = lookUp
        }
    }
}
