package phantom.edge.ar.core

import java.util.concurrent.atomic.AtomicInteger
import phantom.edge.core.Form
import phantom.edge.core.Likelihood
import phantom.edge.core.RgbImage
import phantom.edge.core.StopReason

/** A picture for the model. Frames are told apart by identity: several questions on one cost one look. */
class Frame(val image: RgbImage) {
    val id: Int = count.incrementAndGet()

    /** Of the picture, small, for whoever wants to see what the model saw. */
    val thumbnail: RgbImage = image.thumbnail(THUMBNAIL)

    private companion object {
        const val THUMBNAIL = 240
        val count = AtomicInteger()
    }
}

/** Every so many pixels of it, so that neither side has more than [most]. */
internal fun RgbImage.thumbnail(most: Int): RgbImage {
    val step = (maxOf(width, height) + most - 1) / most
    if (step <= 1) return this
    val (across, down) = (width + step - 1) / step to (height + step - 1) / step
    val small = ByteArray(across * down * 3)
    for (y in 0 until down) {
        for (x in 0 until across) {
            val from = 3 * (y * step * width + x * step)
            pixels.copyInto(small, 3 * (y * across + x), from, from + 3)
        }
    }
    return RgbImage(across, down, small)
}

/** How far loading is; [part] from 0 to 1. */
data class LoadingStep(val text: String, val part: Double)

/** A row of the information panel. */
data class Fact(val name: String, val value: String)

/** Of an answer, whole or so far: seconds to the first piece of text, and tokens a second after it (0 unknown). */
data class Speed(val firstToken: Double = 0.0, val rate: Double = 0.0)

/**
 * [likelihoods] are those of a question's choices, the likeliest first, which is the text; empty for other questions.
 * [confidence] is the model's own probability of a free answer; null for one that is long or cut.
 */
data class Answer(
    val text: String,
    val speed: Speed,
    val stop: StopReason,
    val likelihoods: List<Likelihood> = emptyList(),
    val confidence: Double? = null,
)

/** One row of the self-test. */
data class CheckRow(val name: String, val measured: String, val limit: String, val passed: Boolean)

/** What answers questions about pictures: the model, or the stand-in that tests of the app use. */
interface Engine {
    val facts: List<Fact>

    /** Sides in pixels of the tiles that the model may look with, the one that it starts with first. */
    val tileSizes: List<Int>

    /**
     * Answers, calling back with the whole text so far, on the caller's own dispatcher. [form] is what the answer may
     * be, null anything; of choices it is the likeliest, which comes at once with the likelihood of each.
     */
    suspend fun ask(
        frame: Frame,
        question: String,
        form: Form?,
        maxTokens: Int,
        onText: suspend (String, Speed) -> Unit,
    ): Answer

    /** Looks with tiles of another of [tileSizes] from now on. */
    suspend fun useTiles(size: Int)

    /** Runs the bundle's recorded inputs for that size and compares. */
    suspend fun selfTest(): List<CheckRow>

    /** The system asks for memory. */
    suspend fun trim()

    suspend fun close()
}

/** Makes an engine, telling how far it is on the caller's own dispatcher. */
typealias EngineLoader = suspend (onStep: suspend (LoadingStep) -> Unit) -> Engine
