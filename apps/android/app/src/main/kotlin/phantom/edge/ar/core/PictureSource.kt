package phantom.edge.ar.core

enum class SourceKind { AR, CAMERA, PICTURE }

/** Where pictures come from: AR, the plain camera, or one picture. */
interface PictureSource {
    val kind: SourceKind

    /** What the user sees while [grab] has nothing, because something is to be done first. */
    val hint: String?

    /** How much of the picture around the pin the model looks at. */
    var reach: Reach

    /** That part of the newest picture, a new frame each time; null when there is none. */
    suspend fun grab(): Frame?

    /** Keeps the newest picture: [grab] gives that same frame until [thaw]. */
    fun freeze()

    fun thaw()

    /** The label of the newest pin. */
    fun show(label: LabelText)

    fun close()
}
