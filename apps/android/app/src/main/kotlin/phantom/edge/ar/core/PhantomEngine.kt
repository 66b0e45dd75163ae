package phantom.edge.ar.core

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.withContext
import phantom.edge.core.AnswerOptions
import phantom.edge.core.Answering
import phantom.edge.core.Chat
import phantom.edge.core.Form
import phantom.edge.core.PhantomSession
import phantom.edge.core.Sampling
import phantom.edge.core.StopReason
import phantom.edge.core.Timing
import phantom.edge.core.selfTest

/**
 * The model as an [Engine]: one tile, one look per picture. [worker] is one thread; [loading] are the seconds until now;
 * [sampling] is how the tokens of free answers are chosen.
 */
class PhantomEngine(
    answering: Answering,
    private val worker: CoroutineDispatcher,
    loading: Double,
    private val sampling: Sampling = Sampling.GREEDY,
) : Engine {
    private var session: PhantomSession = answering.session
    private var seen: Pair<Int, Chat>? = null

    override val tileSizes =
        (listOf(session.tile.size) + session.manifest.tileSizes.map { it.size }).distinct()

    override val facts =
        session.manifest.let { manifest ->
            listOfNotNull(
                Fact(Phrase.FACT_MODEL.text(), "${manifest.target}, ${Numbers.megabytes(answering.bytes)}"),
                Fact(Phrase.FACT_RUNS_ON.text(), session.backend.name),
                Fact(if (answering.processor.isNpu) "NPU" else "CPU", answering.processor.reason),
                // Where there is a choice, it says itself what is chosen.
                Fact(Phrase.FACT_SEES.text(), Phrase.FACT_PIXELS.text(session.tile.size))
                    .takeIf { tileSizes.size == 1 },
                Fact(Phrase.FACT_READY_AFTER.text(), Numbers.seconds(loading)),
            )
        }

    override suspend fun ask(
        frame: Frame,
        question: String,
        form: Form?,
        maxTokens: Int,
        onText: suspend (String, Speed) -> Unit,
    ): Answer {
        form?.choices?.let { return rank(frame, question, it) }
        val options = AnswerOptions(maxTokens, sampling = sampling, form = form)
        val start = System.nanoTime()
        var answer = Answer("", Speed(), StopReason.END)
        flow {
            val chat = chatAbout(frame)
            val job = currentCoroutineContext()
            for (piece in chat.ask(question, options) { job.ensureActive() }) {
                emit(Piece(piece, rate(chat.timing)))
            }
            // Words that a form asks for are not the model's own: how likely it held them says nothing.
            emit(chat.timing.run { Piece("", rate(this), stop, confidence.takeIf { form == null }) })
        }.flowOn(worker).collect { piece ->
            val first = if (answer.text.isEmpty()) (System.nanoTime() - start) * 1e-9 else answer.speed.firstToken
            val (text, speed) = answer.text + piece.text to Speed(first, piece.rate)
            answer = Answer(text, speed, piece.stop ?: StopReason.END, confidence = piece.confidence)
            if (piece.text.isNotEmpty()) onText(answer.text, answer.speed)
        }
        return answer
    }

    private suspend fun rank(frame: Frame, question: String, choices: List<String>): Answer {
        val start = System.nanoTime()
        val ranked =
            withContext(worker) {
                val job = currentCoroutineContext()
                chatAbout(frame).rank(question, choices) { job.ensureActive() }
            }
        return Answer(ranked.first().text, Speed((System.nanoTime() - start) * 1e-9), StopReason.END, ranked)
    }

    /** A copy of what the worker's thread knows: its own `Timing` goes on changing. */
    private class Piece(
        val text: String,
        val rate: Double,
        val stop: StopReason? = null,
        val confidence: Double? = null,
    )

    override suspend fun useTiles(size: Int) =
        withContext(worker) {
            if (size != session.tile.size) {
                session = session.atTileSize(size)
                seen = null
            }
        }

    override suspend fun selfTest(): List<CheckRow> =
        withContext(worker) {
            seen = null // the runtime has one cache, and the test takes it
            session.selfTest().checks.map {
                CheckRow(it.name, Numbers.measured(it.value), Numbers.measured(it.limit), it.passed)
            }
        }

    override suspend fun trim() = withContext(worker) { session.trim() }

    override suspend fun close() = withContext(worker) { session.close() }

    /** The chat about a picture; on one that was seen before, its picture and nothing of what was said. */
    private fun chatAbout(frame: Frame): Chat {
        seen?.let { (id, chat) -> if (id == frame.id) return chat.also { it.rewind() } }
        return session.chat(frame.image, maxTiles = 1).also { seen = frame.id to it }
    }

    /** Every token but the last has been appended by now, the last too when the model ended by itself. */
    private fun rate(timing: Timing): Double {
        val appended = if (timing.stop == StopReason.END) timing.newTokens else timing.newTokens - 1
        return if (timing.decode > 0 && appended > 0) appended / timing.decode else 0.0
    }
}
