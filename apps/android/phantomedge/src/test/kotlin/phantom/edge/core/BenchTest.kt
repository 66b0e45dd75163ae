package phantom.edge.core

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.junit.Assume.assumeTrue
import phantom.edge.core.bench.BenchBattery
import phantom.edge.core.bench.BenchPlatform
import phantom.edge.core.bench.BenchTask
import phantom.edge.core.bench.Benchmark
import phantom.edge.core.bench.JsonText

/**
 * The benchmark over an exported bundle's own graphs. Python reads the lines that it tells
 * (`tests/apps/native_bench.py`).
 */
class BenchTest {
    private fun folder(): File {
        val folder = File(Vectors.folder(), "bench")
        assumeTrue("no server for the benchmark", folder.isDirectory)
        return folder
    }

    private fun bundle() = File(folder(), "bundle")

    private fun open(): PipeBackend = PipeBackend.of(folder(), ModelBundle(bundle(), verify = false))

    /** Lines of one run; [job] replaces the one that Python wrote. */
    private fun lines(platform: BenchPlatform, job: String? = null): List<String> {
        val file = File(bundle(), "job.json")
        val before = file.readText()
        val lines = ArrayList<String>()
        val scratch = File(folder(), "scratch").also { it.mkdirs() }
        try {
            job?.let(file::writeText)
            Benchmark(bundle(), scratch, platform, lines::add).run()
        } finally {
            file.writeText(before)
        }
        assertEquals(emptyList(), scratch.list()?.toList())
        return lines
    }

    @Test
    fun theLinesOfAWholeRun() {
        val printed = lines(Bench(open()))
        assertTrue(printed.none { "\n" in it })
        assertTrue(printed.last().startsWith("{\"run\":"), printed.last())
        File(folder(), "lines.jsonl").writeText(printed.joinToString("\n", postfix = "\n"))
    }

    @Test
    fun whatComputesSomethingElseIsNotTimed() {
        val printed = lines(Bench(Turned(open())))
        assertFalse(printed.any { "first token" in it })
        val last = JsonReader.read(printed.last().toByteArray())
        assertEquals(1, last["code"].int)
        assertTrue("image_features.rms is 2.0 (limit" in last.text("error"), printed.last())
    }

    @Test
    fun aHotDeviceAndAChargingOneAreSaidToBe() {
        val job =
            """{"settings": {"repeats": 1, "warmup": 0, "steps": 1, "depths": [], "threads": null, "soak": 0.0001,
            "clock": "wall"}, "check": false, "soak": true}"""
        val printed = lines(Bench(open(), powered = true, thermal = ThermalLevel.CRITICAL), job).last()
        val run = JsonReader.read(printed.toByteArray())["run"]
        assertTrue(run.texts("notes").any { "hot (critical)" in it }, printed)
        assertTrue("charging" in run["missing"].text("energy"), printed)
        assertNull(run["samples"]["energy"])
    }

    @Test
    fun aJobThatIsNoneIsTheUsersFault() {
        val good = """"warmup": 0, "steps": 1, "depths": [0], "soak": 0, "clock""""
        val jobs =
            listOf(
                "", "{}", """{"settings": {"repeats": 0, $good: "wall"}, "check": true, "soak": false}""",
                """{"settings": {"repeats": 1, $good: "processor"}, "check": true, "soak": false}""",
                """{"settings": {"repeats": 1, $good: "wall"}, "soak": false}""",
            )
        for (job in jobs) {
            val printed = lines(Bench(open()), job)
            assertEquals(1, printed.size, job)
            assertEquals(2, JsonReader.read(printed[0].toByteArray())["code"].int, printed[0])
        }
    }

    private val npuJob =
        """{"settings": {"repeats": 1, "warmup": 0, "steps": 2, "depths": [0], "threads": null, "soak": 0,
        "clock": "wall"}, "check": true, "soak": false, "processor": "npu"}"""

    /** With the part for the NPU where the computer pushes it. */
    private fun <T> withPart(use: (ModelBundle) -> T): T {
        val part = File(bundle(), "npu")
        File(Vectors.folder(), "npu/bundle").copyRecursively(part)
        return try {
            use(ModelBundle(part, verify = false))
        } finally {
            part.deleteRecursively()
        }
    }

    @Test
    fun theNpuIsMeasuredAndNamed() {
        val printed = withPart { lines(Bench(open(), npu = true), npuJob) }
        val run = JsonReader.read(printed.last().toByteArray())["run"]
        assertTrue(run["runtime"].text("processor").startsWith("NPU (pipe)"), printed.last())
        assertEquals(64, ModelBundle(File(Vectors.folder(), "npu/bundle"), verify = false).manifest.chunk)
        assertTrue((run["samples"]["decode@0"] as List<*>).size == 2)
        assertTrue("image tokens" in (run["conditions"]["golden"] as Map<*, *>))
    }

    @Test
    fun anNpuThatFallsBackIsAnErrorAndNoNumber() {
        val wrong = withPart { lines(Bench(Turned(open())), npuJob) }.last()
        assertTrue("no NPU part" in JsonReader.read(wrong.toByteArray()).text("error"), wrong)
        assertEquals(1, JsonReader.read(wrong.toByteArray())["code"].int)
        val missing = lines(Bench(open(), npu = true), npuJob).last()
        assertEquals(2, JsonReader.read(missing.toByteArray())["code"].int, missing)
        val unknown = lines(Bench(open()), npuJob.replace("\"npu\"", "\"gpu\"")).last()
        assertTrue("neither cpu nor npu" in unknown, unknown)
    }

    @Test
    fun theCacheIsFilledWithText() {
        val session = PhantomSession(ModelBundle(bundle(), verify = false), open())
        val ids = BenchTask.filler(session, 500)
        assertEquals(500, ids.size)
        assertEquals(ids.take(50), BenchTask.filler(session, 50))
        val barred = session.manifest.endIds + session.manifest.imageId
        assertTrue(ids.drop(1).none { it in barred })
        assertTrue(ids.all { it in 0 until session.manifest.vocabulary })
        assertTrue(ids.toSet().size > minOf(100, session.manifest.vocabulary / 2))
    }

    @Test
    fun textsAreWrittenAsTheyAreRead() {
        val value = mapOf("a\"\\\n\u2028\uD83D\uDE00é" to listOf(1.5, 2.0, 1e-7, true, null, "ü\u0001"))
        val text = JsonText.of(value)
        assertFalse("\n" in text || "\u2028" in text)
        assertEquals<Any?>(value, JsonReader.read(text.toByteArray()))
        assertFailsWith<BackendException> { JsonText.of(listOf(Double.NaN)) }
    }

}

/** This machine as a device: pictures as plain bytes, memory as the kernel tells it, a battery that empties. */
private class Bench(
    private val served: Backend,
    private val powered: Boolean = false,
    private val thermal: ThermalLevel = ThermalLevel.NOMINAL,
    private val npu: Boolean = false,
) : BenchPlatform {
    private var charge = 100_000.0
    override val runtime = mapOf("version" to "a \"quoted\" one")
    override val notes = emptyList<String>()
    override val conditions =
        object : DeviceConditions {
            override val thermal = this@Bench.thermal
            override val availableMemory: Long? = null
        }

    override fun prepare() {}


    override fun npuBackend(npu: ModelBundle, bundle: ModelBundle, threads: Int?): Backend {
        if (!this.npu) throw BackendException("this phone's chip has no NPU part")
        val plan = NpuPlan.of(npu.manifest, "SM8750")
        val files = plan.graphs.mapValues { (_, path) -> File(npu.folder, path) }
        val runtime = PipeRuntime.of(File(Vectors.folder(), "npu"))
        return NpuBackend(plan, files, runtime, backend(bundle, threads), bundle.manifest)
    }

    /** Closing it would end the only connection. */
    override fun backend(bundle: ModelBundle, threads: Int?): Backend =
        object : Backend by served {
            override fun close() {}
        }

    override fun write(picture: RgbImage, file: File) =
        file.writeBytes("${picture.width} ${picture.height}\n".toByteArray() + picture.pixels)

    override fun picture(file: File): RgbImage {
        val bytes = file.readBytes()
        val end = bytes.indexOf('\n'.code.toByte())
        val (width, height) = String(bytes, 0, end).split(" ").map(String::toInt)
        return RgbImage(width, height, bytes.copyOfRange(end + 1, bytes.size))
    }

    override fun peakMemory(): Long? {
        val line = File("/proc/self/status").useLines { lines -> lines.firstOrNull { it.startsWith("VmHWM:") } }
        return line?.filter(Char::isDigit)?.toLongOrNull()?.times(1024)
    }

    override fun temperature() = 31.5

    override fun battery() = BenchBattery(powered, charge, 4.0).also { charge -= 10_000 }
}
