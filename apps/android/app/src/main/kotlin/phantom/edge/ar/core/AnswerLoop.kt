package phantom.edge.ar.core

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch

/** What the loop looks at and speaks to. */
interface LoopHost {
    /** The newest picture; null while there is none. */
    suspend fun grab(): Frame?

    suspend fun answer(frame: Frame, question: String): Answer

    /** Milliseconds to rest after an answer; null when nothing may be asked now, because the phone is too warm. */
    val rest: Long?

    fun willAsk(question: String, frame: Frame)

    fun didAnswer(question: String, answer: Answer)

    fun didFail(failure: Failure)

    fun didIdle()
}

/**
 * Take the newest picture, ask, stream, again. One job at a time and never a queue, so that an answer is about what is
 * before the camera now; whatever the user does cancels the job under way. Everything happens on [scope]'s one thread.
 */
class AnswerLoop(private val host: LoopHost, private val scope: CoroutineScope) {
    private var live: String? = null
    private var once: List<String> = emptyList()
    private var job: Job? = null

    val isLive: Boolean
        get() = live != null

    /** Asks again and again about the newest picture. */
    fun startLive(question: String) = start(question, emptyList())

    /** Asks each question once, in turn, instead of what is under way. */
    fun ask(questions: List<String>) = start(null, questions)

    /** Ends what is under way and asks nothing more by itself. */
    fun pause() = start(null, emptyList())

    /** Until what was under way at the time of the call has ended. */
    suspend fun settled() {
        job?.join()
    }

    private fun start(question: String?, questions: List<String>) {
        live = question
        once = questions
        val before = job
        before?.cancel()
        job =
            scope.launch {
                before?.join() // the engine answers one at a time
                while (true) delay(turn() ?: break)
            }
    }

    /** One question. Gives how long to rest afterwards; null when there is nothing more to do. */
    private suspend fun turn(): Long? {
        val question = once.firstOrNull() ?: live
        if (question == null) {
            host.didIdle()
            return null
        }
        try {
            if (host.rest == null) return RETRY
            val frame = host.grab() ?: return RETRY
            currentCoroutineContext().ensureActive()
            host.willAsk(question, frame)
            val answer = host.answer(frame, question)
            currentCoroutineContext().ensureActive()
            once = once.drop(1)
            host.didAnswer(question, answer)
            return if (once.isEmpty()) host.rest ?: RETRY else 0
        } catch (cancelled: CancellationException) {
            throw cancelled
        } catch (error: Exception) {
            return failed(error)
        } catch (error: OutOfMemoryError) {
            return failed(error)
        }
    }

    private suspend fun failed(error: Throwable): Long? {
        currentCoroutineContext().ensureActive()
        live = null
        once = emptyList()
        host.didFail(Failure.of(error))
        return null
    }

    private companion object {
        /** Between two tries while there is no picture, or the phone cools. */
        const val RETRY = 100L
    }
}
