package phantom.edge.core.bench

import java.io.File
import java.util.Locale
import phantom.edge.core.Golden
import phantom.edge.core.InputException
import phantom.edge.core.ModelBundle
import phantom.edge.core.Pacing
import phantom.edge.core.PhantomSession
import phantom.edge.core.Sampling
import phantom.edge.core.ThermalLevel

/**
 * One process of `phantom-edge bench`: loads the bundle in [folder], compares its golden outputs, times it as
 * `job.json` there says, and tells what it does and finds as lines of JSON. [scratch] is a folder for a temporary
 * picture.
 *
 * Rows, warm-up and order are those of the Python package (`phantom_edge/bench/measure.py`), so that numbers of all
 * devices can be laid side by side.
 */
class Benchmark(
    private val folder: File,
    private val scratch: File,
    private val platform: BenchPlatform,
    private val tell: (String) -> Unit,
) {
    /** Measures, and tells the run, or what went wrong, as the last line. */
    fun run() {
        val last =
            try {
                BenchRun.line(measured())
            } catch (error: Exception) {
                BenchRun.line(error)
            } catch (error: OutOfMemoryError) {
                BenchRun.line(error)
            }
        tell(last)
    }

    private fun step(text: String) = tell(BenchRun.step(text))

    private fun measured(): BenchRun {
        val job = BenchJob(folder)
        val run = BenchRun()
        step("loading")
        // The computer has compared the files with their digests; its job lies among them.
        val bundle = ModelBundle(folder, verify = false)
        PhantomSession.checkMemory(bundle, platform.conditions)
        val npu = if (job.onNpu) ModelBundle(File(folder, BenchJob.NPU), verify = false) else null
        val golden = Golden((npu ?: bundle).golden())
        loaded(bundle, npu, job, run).use { session ->
            run.runtime += platform.runtime
            run.notes += platform.notes
            run.runtime["threads"] = job.threads ?: "the runtime's choice"
            if (npu != null) run.runtime["processor"] = session.backend.name
            BenchTask(session, golden, scratch, platform).use { task -> measured(session, task, job, run) }
        }
        return run
    }

    private fun measured(session: PhantomSession, task: BenchTask, job: BenchJob, run: BenchRun) {
        run.model["tile_size"] = session.tile.size
        run.model["tiles"] = task.tileCount
        run.model["prompt_tokens"] = task.ids.size
        run.model["context"] = session.manifest.context
        if (job.check) {
            step("checking the golden outputs")
            run.conditions["golden"] = task.check()
        }
        measure(session, task, job, run)
        run.add("memory", platform.peakMemory(), NO_MEMORY)
        if (job.soak > 0) soak(session, task, job.soak, run)
    }

    private fun loaded(bundle: ModelBundle, npu: ModelBundle?, job: BenchJob, run: BenchRun): PhantomSession {
        platform.prepare()
        run.add("libraries", platform.peakMemory(), NO_MEMORY)
        val start = now()
        val backend =
            if (npu == null) platform.backend(bundle, job.threads) else platform.npuBackend(npu, bundle, job.threads)
        // Never a pause: a warm device's own speed is what is measured, and its heat is reported.
        val session = PhantomSession(npu ?: bundle, backend, platform.conditions, Pacing.UNPACED)
        run.add("load", now() - start)
        return session
    }

    /** The rows of one process: the first token with its parts, and decoding at every depth. */
    private fun measure(session: PhantomSession, task: BenchTask, job: BenchJob, run: BenchRun) {
        var warmest = platform.conditions.thermal
        val total = job.warmup + job.repeats
        for (n in 0 until total) {
            step("first token, ${n + 1} of $total")
            val parts = firstToken(session, task)
            if (n >= job.warmup) parts.forEach(run::add)
            warmest = maxOf(warmest, platform.conditions.thermal)
        }
        for (depth in job.fitting(session.manifest.context)) {
            step("decoding at $depth cached tokens")
            decodeSteps(session, depth, job).forEach { run.add("decode@$depth", 1 / it) }
            warmest = maxOf(warmest, platform.conditions.thermal)
        }
        run.conditions["warmest"] = warmest.name.lowercase()
        if (warmest >= ThermalLevel.SERIOUS) {
            val level = warmest.name.lowercase()
            run.notes += "the device said that it was hot ($level) while it was timed: let it cool, measure again"
        }
    }

    /** Seconds until the first token is chosen, and of its three parts. The cache is made before the clock starts. */
    private fun firstToken(session: PhantomSession, task: BenchTask): Map<String, Double> {
        val cache = session.backend.makeCache()
        val greedy = Sampling.GREEDY.chooser()
        val start = now()
        val tiles = task.pixels()
        val prepared = now()
        val rows = task.encode(tiles)
        val seen = now()
        greedy(session.prefill(task.ids, 0, cache, rows))
        val chosen = now()
        return mapOf(
            "first_token" to chosen - start, "preprocess" to prepared - start,
            "vision" to seen - prepared, "prefill" to chosen - seen,
        )
    }

    /** Seconds of each generated token (embedding, decoder, greedy choice) after [depth] cached ones. */
    private fun decodeSteps(session: PhantomSession, depth: Int, job: BenchJob): List<Double> {
        val cache = session.backend.makeCache()
        val greedy = Sampling.GREEDY.chooser()
        val ids = BenchTask.filler(session, depth + 1)
        if (depth > 0) session.prefill(ids.dropLast(1), 0, cache)
        var token = ids[depth]
        val seconds = List(job.warmSteps + job.steps) { n ->
            val start = now()
            token = greedy(session.prefill(listOf(token), depth + n, cache))
            now() - start
        }
        return seconds.drop(job.warmSteps)
    }

    /** Answers again and again for so many minutes: tokens per second, temperature and energy over time. */
    private fun soak(session: PhantomSession, task: BenchTask, minutes: Double, run: BenchRun) {
        val before = platform.battery()
        val begin = now()
        val window = maxOf(WINDOW, 60 * minutes / SOAK_POINTS)
        val end = 60 * minutes
        val points = ArrayList<List<Double>>()
        val warmth = ArrayList<List<Double>>()
        var tokens = 0
        var total = 0
        var busy = 0.0
        for (seconds in answers(session, task)) {
            tokens++
            total++
            busy += seconds
            val now = now() - begin
            if (busy >= window || now >= end) {
                points += listOf(now, tokens / busy)
                platform.temperature()?.let { warmth += listOf(now, it) }
                val words = "soaking, %.1f of %s minutes, %.1f tok/s"
                step(words.format(Locale.ROOT, now / 60, minutes, tokens / busy))
                tokens = 0
                busy = 0.0
            }
            if (now >= end) break
        }
        run.curves["soak"] = points
        if (warmth.isNotEmpty()) run.curves["temperature"] = warmth
        run.conditions["thermal, after the soak"] = platform.conditions.thermal.name.lowercase()
        energy(before, platform.battery(), total, run)
    }

    /** Seconds of each generated token of endless answers to the same prompt. */
    private fun answers(session: PhantomSession, task: BenchTask): Sequence<Double> = sequence {
        val rows = task.encode(task.pixels())
        val greedy = Sampling.GREEDY.chooser()
        val room = minOf(SOAK_TOKENS, session.manifest.context - task.ids.size)
        if (room < 1) throw InputException("the golden prompt fills the context: no room for a soak")
        while (true) {
            val cache = session.backend.makeCache()
            var token = greedy(session.prefill(task.ids, 0, cache, rows))
            for (n in 0 until room) {
                val start = now()
                token = greedy(session.prefill(listOf(token), task.ids.size + n, cache))
                yield(now() - start)
            }
        }
    }

    /** Joules per generated token from the charge that left the battery, prefill included. */
    private fun energy(before: BenchBattery?, after: BenchBattery?, tokens: Int, run: BenchRun) {
        if (before == null || after == null) {
            run.missing["energy"] = "this device does not tell what left its battery"
        } else if (before.powered || after.powered) {
            run.missing["energy"] = "the device was charging; connect over Wi-Fi and unplug it"
        } else if (before.charge - after.charge < LEAST_CHARGE) {
            run.missing["energy"] = "less than 5 mAh left the battery, too little to count; use more --soak minutes"
        } else {
            val volts = (before.volts + after.volts) / 2
            val joules = (before.charge - after.charge) * 1e-6 * 3600 * volts
            run.add("energy", joules / tokens.coerceAtLeast(1))
            run.notes += "energy is the whole device's over the soak: screen and prefill included"
        }
    }

    private fun now(): Double = System.nanoTime() / 1e9

    private companion object {
        const val WINDOW = 2.0 // seconds of generating per point of a soak's curve, at least
        const val SOAK_POINTS = 200 // of a long soak
        const val SOAK_TOKENS = 256 // generated per answer while soaking, then the prompt again, as in use
        const val LEAST_CHARGE = 5000 // microampere hours: gauges count in steps of about a thousand
        const val NO_MEMORY = "the system does not say how much memory an app has had at most"
    }
}
