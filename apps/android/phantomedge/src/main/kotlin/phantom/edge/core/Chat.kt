package phantom.edge.core

/** One context: a picture, the questions about it and their answers. */
class Chat internal constructor(
    private val session: PhantomSession,
    private val image: RgbImage?,
    private val policy: TilePolicy,
) {
    private val manifest = session.manifest
    private val cached = ArrayList<Int>()
    private var cache: DecoderCache? = null
    private var pending: List<Int> = emptyList() // a generated token that is not in the cache yet
    private var isOpen = false // a question has been asked since the beginning or the last rewind
    private var questions = 0

    /** The ids that the cache holds. */
    val ids: List<Int>
        get() = cached.toList()

    /** Seconds and counts of the last answer, and how sure the model is of it. */
    var timing = Timing()
        private set

    /**
     * The answer as pieces of text, computed while they are taken. The first question computes the picture, a later one
     * only itself.
     *
     * Take fewer pieces, or let [check] throw, and the answer ends there; what was said stands, and the next question
     * may follow. Throws [InputException] here, before anything is computed, for a question that does not fit, and for
     * choices that the tokenizer cannot write.
     */
    fun ask(question: String, options: AnswerOptions = AnswerOptions(), check: Checkpoint = {}): Sequence<String> {
        val prompt = prompt(question)
        val kept = if (isOpen) cached.size else commonPrefix(prompt)
        verify(options)
        verify(prompt, kept)
        val constraint = options.form?.let(session.forms::constraint)
        val current = alone(check)
        return sequence {
            val logits = begin(prompt, kept, current)
            isOpen = true
            generate(logits, options, constraint, timing, current)
        }.constrainOnce()
    }

    /**
     * How likely each of the choices is as the answer, the likeliest first: the probability of its tokens and of an end
     * behind them, over that of all the choices together. A call of the decoder for each token that the choices do not
     * share.
     *
     * The conversation stays as it was: the next question may follow. Throws [InputException] as [ask] does.
     */
    fun rank(question: String, choices: List<String>, check: Checkpoint = {}): List<Likelihood> {
        val tree = session.forms.tree(Form.choices(choices).choices.orEmpty())
        val prompt = prompt(question)
        val kept = if (isOpen) cached.size else commonPrefix(prompt)
        verify(prompt, kept, tree.depth)
        val current = alone(check)
        val (before, unsaid) = cached.take(kept) to pending
        val logits = begin(prompt, kept, current)
        val length = cached.size
        if (isOpen) {
            hold(before)
            pending = unsaid
        }
        val cache = cache ?: throw BackendException("the chat has no cache: ask a question first")
        val ranking = Ranking(tree, manifest.endIds) { token, depth ->
            finite(session.prefill(listOf(token), length + depth, cache, check = current))
        }
        var ranked = emptyList<Likelihood>()
        timing.decode = seconds { ranked = ranking.of(finite(logits), choices) }
        timing.stop = StopReason.END
        return ranked
    }

    /**
     * Forgets the questions and answers but keeps the picture: the next question is the first again, and costs neither
     * the vision encoder nor the picture's part of the prompt.
     */
    fun rewind() {
        questions++
        isOpen = false
        pending = emptyList()
    }

    /** What is to be appended to the cache, or the whole of it for a first question. */
    private fun prompt(question: String): List<Int> {
        val prompts = PromptEncoder(manifest.prompt, session.tokenizer)
        return if (isOpen) pending + prompts.next(question) else prompts.first(question, imageTokens)
    }

    private val imageTokens: Int?
        get() = image?.let { policy.count(it.width, it.height) * session.tile.tokens }

    /** Ids of the prompt that the cache holds from an earlier question; the last one is always computed. */
    private fun commonPrefix(prompt: List<Int>): Int {
        val same = cached.zip(prompt).takeWhile { it.first == it.second }.size
        val length = minOf(same, prompt.size - 1).coerceAtLeast(0)
        // A picture that the cache has in part is computed again: its rows are not kept.
        return if (manifest.imageId in prompt.drop(length)) 0 else length
    }

    private fun verify(options: AnswerOptions) {
        if (options.maxTokens < 1 || options.stops.any { it.isEmpty() }) {
            throw InputException("ask for at least one token, and give stop texts that are not empty")
        }
    }

    /** [room] are tokens that must fit behind the prompt. */
    private fun verify(prompt: List<Int>, kept: Int, room: Int = 0) {
        if (!isOpen && prompt.firstOrNull() != manifest.firstId) {
            throw InputException(
                "the prompt begins with token ${prompt.firstOrNull()}, the model was folded for ${manifest.firstId}: " +
                    "use the bundle's own tokenizer and template",
            )
        }
        val length = room + if (isOpen) kept + prompt.size else prompt.size
        if (length > manifest.context) {
            throw InputException(
                "the prompt needs $length tokens, the context holds ${manifest.context}: ask less, use fewer tiles, " +
                    "or export with a larger context",
            )
        }
        val (places, rows) = prompt.count { it == manifest.imageId } to (if (isOpen) 0 else imageTokens ?: 0)
        if (places != rows) throw InputException("the prompt has $places image tokens, the picture $rows")
    }

    /** A checkpoint that also ends what is under way when another question is asked. */
    private fun alone(check: Checkpoint): Checkpoint {
        val number = ++questions
        return {
            if (number != questions) throw InputException("this chat has another question since: take its answer")
            check()
        }
    }

    /** Brings a prompt into the cache, behind the [kept] ids that are there: the logits of its last. */
    private fun begin(prompt: List<Int>, kept: Int, check: Checkpoint): FloatArray {
        timing = Timing(prompt.size, if (isOpen) 0 else kept)
        return prefill(if (isOpen) prompt else prompt.drop(kept), kept, timing, check)
    }

    private fun prefill(prompt: List<Int>, kept: Int, spent: Timing, check: Checkpoint): FloatArray {
        val before = cached.take(kept)
        val wasOpen = isOpen
        try {
            var rows = FloatArray(0)
            if (image != null && manifest.imageId in prompt) {
                val tiles = policy.split(image).asSequence().map(TilePolicy::planar)
                spent.vision = seconds { rows = session.encode(tiles, check) }
            }
            var logits = FloatArray(0)
            spent.prefill = seconds {
                val cache = cache ?: session.backend.makeCache().also { cache = it }
                hold(before)
                logits = session.prefill(prompt, kept, cache, rows, check) { hold(before + prompt.take(it - kept)) }
            }
            pending = emptyList()
            return logits
        } catch (error: Throwable) {
            if (wasOpen) hold(before) // half a question is taken back; half a first prompt may serve again
            throw error
        }
    }

    private fun hold(ids: List<Int>) {
        cached.clear()
        cached += ids
    }

    /** A token is appended to the cache when the next one is computed. */
    private suspend fun SequenceScope<String>.generate(
        first: FloatArray,
        options: AnswerOptions,
        constraint: Constraint?,
        spent: Timing,
        check: Checkpoint,
    ) {
        var logits = first
        val choose = options.sampling.chooser()
        val stream = session.tokenizer.stream()
        val filter = StopFilter(options.stops)
        val confidence = Confidence(manifest.endIds)
        while (true) {
            val token = choose(finite(logits).let { constraint?.limit(it, options.sampling.temperature == 0.0) ?: it })
            if (token in manifest.endIds) {
                spent.stop = StopReason.END
                spent.confidence = confidence.ended(logits)
                break
            }
            confidence.add(logits, token)
            constraint?.take(token)
            spent.newTokens++
            pending = listOf(token)
            filter.push(stream.push(token)).ifNotEmpty { yield(it) }
            check()
            spent.stop = if (constraint?.isComplete == true) StopReason.END else reason(filter, options, spent)
            if (spent.stop == StopReason.END) spent.confidence = confidence.ended(null)
            if (spent.stop != null) break
            if (!session.pace(check)) {
                spent.stop = StopReason.THERMAL
                break
            }
            spent.decode += seconds { logits = append(token) }
        }
        filter.push(stream.finish()).ifNotEmpty { yield(it) }
        if (filter.hasStopped) {
            spent.stop = StopReason.STOP
            spent.confidence = null
        }
        filter.finish().ifNotEmpty { yield(it) }
    }

    private fun finite(logits: FloatArray): FloatArray {
        if (logits.all { it.isFinite() }) return logits
        throw BackendException(
            "the model's logits are not finite: its weights are broken, or too large for this runtime's numbers",
        )
    }

    private inline fun String.ifNotEmpty(use: (String) -> Unit) {
        if (isNotEmpty()) use(this)
    }

    private fun reason(filter: StopFilter, options: AnswerOptions, spent: Timing): StopReason? =
        when {
            filter.hasStopped -> StopReason.STOP
            spent.newTokens == options.maxTokens -> StopReason.LENGTH
            cached.size == manifest.context -> StopReason.CONTEXT
            else -> null
        }

    private fun append(token: Int): FloatArray {
        val cache = cache ?: throw BackendException("the chat has no cache: ask a question first")
        val logits = session.step(listOf(token), cached.size, cache)
        cached += token
        pending = emptyList()
        return logits
    }

    private inline fun seconds(work: () -> Unit): Double {
        val start = System.nanoTime()
        work()
        return (System.nanoTime() - start) * 1e-9
    }
}
