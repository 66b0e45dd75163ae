package phantom.edge.ar.core

import kotlin.math.pow
import kotlinx.coroutines.delay
import phantom.edge.core.Form
import phantom.edge.core.Likelihood
import phantom.edge.core.StopReason

/** Answers without a model, so that the app can be built, tested and looked at anywhere. Says so in every answer. */
class FakeEngine(private val step: Long = STEP) : Engine {
    override val facts = listOf(Fact("Model", "stand-in, no model"), Fact("Runs on", "no model"))
    override val tileSizes = listOf(448, 336, 224)

    override suspend fun ask(
        frame: Frame,
        question: String,
        form: Form?,
        maxTokens: Int,
        onText: suspend (String, Speed) -> Unit,
    ): Answer {
        form?.choices?.let { return rank(it) }
        val (width, height) = frame.image.width to frame.image.height
        val words = "A stand-in answer to “$question” about $width by $height pixels.".split(' ')
        val start = System.nanoTime()
        var text = ""
        var speed = Speed()
        for ((n, word) in words.take(maxTokens).withIndex()) {
            delay(step)
            text += if (n == 0) word else " $word"
            val passed = (System.nanoTime() - start) * 1e-9
            speed = if (n == 0) Speed(passed) else speed.copy(rate = n / (passed - speed.firstToken))
            onText(text, speed)
        }
        return Answer(text, speed, if (words.size > maxTokens) StopReason.LENGTH else StopReason.END)
    }

    /** Each choice is half as likely as the one before. */
    private suspend fun rank(choices: List<String>): Answer {
        delay(step)
        val weights = choices.indices.map { 0.5.pow(it) }
        val likelihoods = choices.zip(weights) { text, weight -> Likelihood(text, weight / weights.sum()) }
        return Answer(choices.first(), Speed(step * 1e-3), StopReason.END, likelihoods)
    }

    override suspend fun useTiles(size: Int) = Unit

    override suspend fun selfTest() = listOf(CheckRow("No model to test", "nothing", "none", true))

    override suspend fun trim() = Unit

    override suspend fun close() = Unit

    companion object {
        private const val STEP = 40L // milliseconds per word

        suspend fun load(step: Long = STEP, onStep: suspend (LoadingStep) -> Unit): FakeEngine {
            for (part in 0..4) {
                onStep(LoadingStep(Phrase.LOADING_MODEL.text(), part / 4.0))
                delay(step)
            }
            return FakeEngine(step)
        }
    }
}
