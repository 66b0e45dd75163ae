package phantom.edge.core

import java.util.Locale

/** Which of a phone's processors answers, and why, in words for people. */
class Processor(val isNpu: Boolean, val reason: String) {
    override fun toString(): String = "${if (isNpu) "NPU" else "CPU"}: $reason"
}

/** A session, the processor that it was given, and the [bytes] of the files that it uses. */
class Answering(val session: PhantomSession, val processor: Processor, val bytes: Long)

/**
 * How a session is opened by the rules of docs/bundle.md: the NPU where it is proved to be right, else the CPU.
 *
 * [tileSize] is one that the CPU's bundle has, null its default; throws [InputException] for another. An NPU's part has
 * one, and answers with no other.
 */
class Processors(
    private val cpuBundle: ModelBundle,
    private val conditions: DeviceConditions,
    private val pacing: Pacing,
    tileSize: Int? = null,
    private val openCpu: () -> Backend,
) {
    private val tile = cpuBundle.manifest.tileSize(tileSize ?: cpuBundle.manifest.tileSize)

    /** A bundle's part for the NPU of [chip], its [verdict], and how it is loaded beside the CPU's backend. */
    class Candidate(
        val bundle: ModelBundle,
        val chip: String?,
        val verdict: NpuVerdict,
        val openNpu: (NpuPlan, Backend) -> Backend,
    )

    private val cpuBytes: Long
        get() = cpuBundle.manifest.files.values.sumOf { it.bytes }

    /** Opens without an NPU. */
    fun onCpu(reason: String): Answering {
        PhantomSession.checkMemory(cpuBundle, conditions)
        val session = PhantomSession(cpuBundle, openCpu(), conditions, pacing, tile.size)
        return Answering(session, Processor(false, reason), cpuBytes)
    }

    /**
     * Opens with [candidate]'s NPU, if it passes its golden file: now, or when this system was last asked. Whatever goes
     * wrong with it leaves all to the CPU and is its reason. [onStep] hears what takes long.
     */
    fun open(candidate: Candidate, onStep: (String) -> Unit = {}): Answering {
        val verdict = candidate.verdict
        val plan =
            try {
                NpuPlan.of(candidate.bundle.manifest, candidate.chip).also { checkFits(candidate.bundle, it) }
            } catch (error: PhantomEdgeException) {
                return onCpu(error.message.orEmpty()) // nothing to remember: it is as quickly found again
            }
        val size = candidate.bundle.manifest.tileSize
        if (tile.size != size) return onCpu("tiles of ${tile.size} pixels were chosen, the NPU has those of $size")
        verdict.reason?.let { return onCpu(it) }
        return try {
            Answering(tried(candidate, plan, onStep), Processor(true, reason(plan)), cpuBytes + plan.graphBytes)
        } catch (error: Exception) { // of a runtime of others: whatever it is, the CPU can do without
            val reason = error.message ?: error.javaClass.simpleName
            if (error !is MemoryException) verdict.fail(reason)
            onCpu(reason)
        }
    }

    private fun tried(candidate: Candidate, plan: NpuPlan, onStep: (String) -> Unit): PhantomSession {
        val verdict = candidate.verdict
        val isTested = verdict.hasPassed
        if (!isTested) {
            onStep(if (plan.isCompiled) "Testing the NPU, once" else "Compiling for the NPU, once")
            verdict.begin()
        }
        val cpu = openCpu()
        val backend = closing(cpu) { candidate.openNpu(plan, cpu) }
        return closing(backend) {
            val session = PhantomSession(candidate.bundle, backend, conditions, pacing, tile.size)
            if (!isTested) {
                session.selfTest().checks.firstOrNull { !it.passed }?.let { throw BackendException(failure(it)) }
                verdict.pass()
            }
            session
        }
    }

    private inline fun <T> closing(backend: Backend, work: () -> T): T =
        try {
            work()
        } catch (error: Throwable) {
            backend.close()
            throw error
        }

    private fun checkFits(bundle: ModelBundle, plan: NpuPlan) {
        NpuBackend.checkPair(cpuBundle.manifest, bundle.manifest)
        bundle.checkFiles(plan.files, contents = false)
        val available = conditions.availableMemory ?: return
        val cache = bundle.manifest.cacheElements * StaticDecoder.cacheType(bundle.manifest).bytes
        val needed = cpuBundle.graphBytes + plan.graphBytes + cache
        if (available < needed) throw MemoryException(needed, available)
    }

    private fun reason(plan: NpuPlan): String {
        val made = if (plan.isCompiled) "compiled for it" else "compiled on this phone"
        return "${plan.chip}, ${if (plan.decodes) "all" else "pictures"} on the NPU, $made"
    }

    companion object {
        internal fun failure(check: SelfTest.Check): String =
            "the NPU computes something else here: %s is %.2g (limit %.2g)"
                .format(Locale.ROOT, check.name, check.value, check.limit)
    }
}
