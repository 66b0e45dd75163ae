package phantom.edge.ar.core

import phantom.edge.core.BackendException
import phantom.edge.core.BundleException
import phantom.edge.core.InputException
import phantom.edge.core.MemoryException
import phantom.edge.core.StorageException
import phantom.edge.core.TransferException

/** Something that went wrong in a way that the user should read about: what it is and how to mend it. */
class Failure(val code: Code, override val message: String) : Exception(message) {
    enum class Code(internal val title: Phrase) {
        SETTINGS(Phrase.TITLE_MODEL),
        BUNDLE(Phrase.TITLE_MODEL),
        MEMORY(Phrase.TITLE_MEMORY),
        STORAGE(Phrase.TITLE_STORAGE),
        NETWORK(Phrase.TITLE_NETWORK),
        MODEL(Phrase.TITLE_RUNS),
        QUESTION(Phrase.TITLE_QUESTION),
        PICTURE(Phrase.TITLE_PICTURE),
        NO_CAMERA(Phrase.TITLE_NO_CAMERA),
        CAMERA_REFUSED(Phrase.TITLE_CAMERA_REFUSED),
        CAMERA_BUSY(Phrase.TITLE_CAMERA_BUSY),
        AR(Phrase.TITLE_AR),
    }

    val title: String
        get() = code.title.text()

    /** Whether another try can go well without anything else being changed. */
    val canRetry: Boolean
        get() = code != Code.SETTINGS && code != Code.QUESTION && code != Code.PICTURE

    companion object {
        private const val LONGEST = 300

        /** Any error; those of the library say by their class what they are about. */
        fun of(error: Throwable): Failure =
            when (error) {
                is Failure -> error
                is BundleException -> Failure(Code.BUNDLE, sentence(error.message))
                is InputException -> Failure(Code.QUESTION, sentence(error.message))
                is MemoryException -> Failure(Code.MEMORY, sentence(error.message))
                is TransferException -> Failure(Code.NETWORK, sentence(error.message))
                is StorageException -> Failure(Code.STORAGE, sentence(error.message))
                is BackendException -> Failure(Code.MODEL, sentence(error.message))
                is OutOfMemoryError -> Failure(Code.MEMORY, Phrase.MEMORY_FULL.text())
                else -> Failure(Code.MODEL, sentence(error.message ?: error.javaClass.simpleName))
            }

        /** The library's errors are lines for a log; here they are read as sentences. */
        fun sentence(text: String?): String {
            val line = text.orEmpty().lineSequence().first().take(LONGEST)
            val ended = if (line.endsWith(".")) line else "$line."
            return ended.replaceFirstChar { it.uppercaseChar() }
        }
    }
}
