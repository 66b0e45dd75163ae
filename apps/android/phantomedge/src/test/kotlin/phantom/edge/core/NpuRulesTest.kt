package phantom.edge.core

import java.io.File
import java.io.RandomAccessFile
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.BeforeTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** Which processor answers: by the chip, by what loads, and by the golden file on the NPU itself. */
class NpuRulesTest {
    private lateinit var scratch: File
    private lateinit var part: ModelBundle
    private lateinit var cpuBundle: ModelBundle
    private var tests = 0
    private var cpuOpened = 0

    @BeforeTest
    fun open() {
        val vectors = Vectors.folder()
        scratch = Files.createTempDirectory("npu").toFile()
        part = ModelBundle(File(vectors, "npu/bundle"), verify = false)
        cpuBundle = ModelBundle(File(vectors, "bundle"), verify = false)
    }

    @AfterTest
    fun clean() {
        scratch.deleteRecursively()
    }

    private fun json(bundle: ModelBundle): Map<*, *> =
        JsonReader.read(File(bundle.folder, ModelBundle.MANIFEST).readBytes()) as Map<*, *>

    private fun npu(vararg changes: Pair<String, Any?>): Manifest {
        val whole = json(part)
        return Manifest(whole + ("npu" to (whole["npu"] as Map<*, *>) + changes))
    }

    // --- the plan

    @Test
    fun aChipThatWasCompiledForGetsItsFilesAndNoOthers() {
        for (name in listOf("SM8650", "SM8650-AC", "sm8650")) {
            val plan = NpuPlan.of(part.manifest, name)
            assertTrue(plan.isCompiled && plan.decodes)
            assertEquals("npu/sm8650/prefill.onnx", plan.graphs[NpuGraph.PREFILL])
            val beside = listOf("vision_encoder", "prefill", "decode").flatMap { listOf("$it.onnx", "$it.bin") }
            val expected = beside.map { "npu/sm8650/$it" } + ModelBundle.TOKENIZER + ModelBundle.GOLDEN
            assertEquals(expected.toSet(), plan.files)
        }
    }

    @Test
    fun aChipOfAKnownVersionCompilesForItself() {
        val plan = NpuPlan.of(part.manifest, "SM8550")
        assertFalse(plan.isCompiled)
        assertEquals("npu/decode.onnx", plan.graphs[NpuGraph.DECODE])
        assertTrue(plan.files.none { "/sm" in it } && plan.graphBytes > 0)
        assertFalse(NpuPlan.of(npu("graphs" to mapOf("vision_encoder" to "npu/vision_encoder.onnx")), "SM8550").decodes)
    }

    @Test
    fun anyOtherHasAReason() {
        fun reason(manifest: Manifest, chip: String?) =
            assertFailsWith<BackendException> { NpuPlan.of(manifest, chip) }.message!!
        assertTrue("chip SM8850 has no NPU part: it was compiled for SM8650, SM8750" in reason(part.manifest, "SM8850"))
        assertTrue("chip TENSOR G4 has no NPU part" in reason(part.manifest, "Tensor G4"))
        assertTrue("does not say" in reason(part.manifest, null))
        assertTrue("holds nothing for an NPU" in reason(cpuBundle.manifest, "SM8650"))
    }

    @Test
    fun aManifestThatIsWrongIsRefused() {
        val damages =
            listOf(
                ("graphs" to mapOf("prefill" to "a.onnx")) to "lacks a graph",
                ("graphs" to mapOf("vision_encoder" to "a.onnx", "prefill" to "b.onnx")) to "lacks a graph",
                ("graphs" to mapOf("vision_encoder" to "../a.onnx")) to "lies outside",
                ("graphs" to mapOf("vision_encoder" to 1.0)) to "npu.graphs is not an object of texts",
                ("architectures" to null) to "lacks npu.architectures",
                ("options" to mapOf("a" to 1.0)) to "npu.options is not an object of texts",
                ("compiled" to mapOf("SM1" to mapOf("model" to 1.0))) to "lacks npu.compiled.SM1.architecture",
            )
        for ((change, message) in damages) {
            val error = assertFailsWith<BundleException> { npu(change) }
            assertTrue(message in error.message!!, error.message)
        }
        assertNull(Manifest(json(cpuBundle)).npu)
    }

    @Test
    fun bundlesOfDifferentModelsAreNoPair() {
        NpuBackend.checkPair(cpuBundle.manifest, part.manifest)
        val whole = json(part)
        val source = whole["source"] as Map<*, *>
        val recipe = whole["recipe"] as Map<*, *>
        val changes =
            listOf(
                ("source" to source + ("sha256" to mapOf("config.json" to "0"))) to "another checkpoint",
                ("fold" to (whole["fold"] as Map<*, *>) + ("fold" to "rank:4")) to "another fold",
                ("recipe" to recipe + ("rules" to emptyList<Any>())) to "another recipe",
                ("quantization" to mapOf("integers" to mapOf("a" to "b"))) to "other integers",
                ("context" to 100_000.0) to "a longer context",
            )
        for ((change, message) in changes) {
            val other = Manifest(whole + change)
            val error = assertFailsWith<BundleException> { NpuBackend.checkPair(cpuBundle.manifest, other) }
            assertTrue(message in error.message!!, error.message)
        }
    }

    // --- the choice

    private fun processors(free: Long? = null, tileSize: Int? = null) =
        Processors(cpuBundle, room(free), Pacing.UNPACED, tileSize) {
            cpuOpened++
            Embedder(PipeBackend.of(Vectors.folder(), cpuBundle))
        }

    private fun room(bytes: Long?) =
        object : DeviceConditions {
            override val thermal = ThermalLevel.NOMINAL
            override val availableMemory = bytes
        }

    private fun candidate(
        system: String = "a",
        chip: String? = "SM8650",
        bundle: ModelBundle = part,
        change: (Backend) -> Backend = { it },
    ): Processors.Candidate {
        val verdict = NpuVerdict(File(scratch, "verdict"), "model $system")
        return Processors.Candidate(bundle, chip, verdict) { plan, cpu ->
            tests++
            val files = plan.graphs.mapValues { (_, path) -> File(bundle.folder, path) }
            change(NpuBackend(plan, files, PipeRuntime.of(File(Vectors.folder(), "npu")), cpu, cpuBundle.manifest))
        }
    }

    @Test
    fun anNpuThatPassesAnswersAndIsTestedOnce() {
        val steps = ArrayList<String>()
        val runtime = PipeRuntime.of(File(Vectors.folder(), "npu"))
        val first = processors().open(candidate(), steps::add)
        assertEquals("NPU: SM8650, all on the NPU, compiled for it", "${first.processor}")
        assertEquals(listOf("Testing the NPU, once"), steps)
        runtime.calls.clear()
        val second = processors().open(candidate(), steps::add)
        assertTrue(second.processor.isNpu)
        assertEquals(1, steps.size)
        assertEquals(emptyList(), runtime.calls.toList())
        processors().open(candidate(system = "b"), steps::add)
        assertEquals(2, steps.size, "after an update of the system it is tested again")
        processors().open(candidate(system = "c", chip = "SM8550"), steps::add)
        assertEquals("Compiling for the NPU, once", steps.last())
    }

    @Test
    fun tilesOfAnotherSizeThanTheNpusAreForTheCpu() {
        val (size, small) = cpuBundle.manifest.tileSizes.map { it.size }
        val answering = processors(tileSize = small).open(candidate())
        assertEquals("CPU: tiles of $small pixels were chosen, the NPU has those of $size", "${answering.processor}")
        assertEquals(small, answering.session.tile.size)
        assertEquals(0, tests)
        assertTrue(processors(tileSize = size).open(candidate()).processor.isNpu)
        assertFailsWith<InputException> { processors(tileSize = 100) }
    }

    @Test
    fun anNpuThatComputesSomethingElseIsNotUsed() {
        val answering = processors().open(candidate { Turned(it) })
        assertFalse(answering.processor.isNpu)
        val reason = answering.processor.reason
        assertTrue("computes something else here: image_features.rms is 2.0 (limit 0.030)" in reason, reason)
        assertEquals("embedder", answering.session.backend.name)
        assertEquals(cpuBundle.manifest, answering.session.manifest)
        assertEquals(2, cpuOpened)
        val again = processors().open(candidate { Turned(it) })
        assertEquals(reason, again.processor.reason)
        assertEquals(1, tests, "it is remembered")
        assertTrue(processors().open(candidate(system = "b")).processor.isNpu)
    }

    @Test
    fun whatDoesNotLoadLeavesAllToTheCpu() {
        val broken = candidate { throw BackendException("the NPU does not load prefill.onnx: error 1002") }
        assertEquals("CPU: the NPU does not load prefill.onnx: error 1002", "${processors().open(broken).processor}")
        assertTrue("error 1002" in processors().open(candidate()).processor.reason)
        assertEquals(1, tests)
        val odd = candidate(system = "b") { throw IllegalStateException() }
        assertEquals("IllegalStateException", processors().open(odd).processor.reason)
    }

    @Test
    fun whatIsNotThereIsNotRemembered() {
        val other = processors().open(candidate(chip = "SM8450"))
        assertTrue("chip SM8450 has no NPU part" in other.processor.reason)
        val room = PhantomSession.memoryNeeded(cpuBundle)
        assertTrue("MiB are free" in processors(room).open(candidate(bundle = large(room))).processor.reason)
        val copy = File(scratch, "part").also { part.folder.copyRecursively(it) }
        File(copy, "npu/sm8650/decode.bin").delete()
        val lacking = processors().open(candidate(bundle = ModelBundle(copy, verify = false)))
        assertTrue("npu/sm8650/decode.bin is missing" in lacking.processor.reason)
        assertEquals(0, tests)
        assertTrue(processors().open(candidate()).processor.isNpu)
    }

    /** A copy of the part with a context binary of so many bytes, none of them written. */
    private fun large(bytes: Long): ModelBundle {
        val copy = File(scratch, "large").also { part.folder.copyRecursively(it) }
        val name = "npu/sm8650/decode.bin"
        RandomAccessFile(File(copy, name), "rw").use { it.setLength(bytes) }
        val manifest = File(copy, ModelBundle.MANIFEST)
        manifest.writeText(manifest.readText().replace(Regex("(\"$name\": \\{\\s*\"bytes\": )\\d+"), "$1$bytes"))
        return ModelBundle(copy, verify = false)
    }

    @Test
    fun aTestThatEndsTheAppIsNotRepeatedForEver() {
        val file = File(scratch, "verdict")
        for (tries in 0 until 3) {
            val verdict = NpuVerdict(file, "model a")
            assertNull(verdict.reason)
            verdict.begin()
        }
        assertEquals("CPU: the app ended 3 times while the NPU was tried", "${processors().open(candidate()).processor}")
        assertNull(NpuVerdict(file, "model b").reason)
        file.writeText("model a\nfailed\n")
        assertNull(NpuVerdict(file, "model a").reason, "half a file says nothing")
        NpuVerdict(File("/proc/none/verdict"), "a").fail("nowhere to write")
    }

    // --- compiled on the phone

    private class Compiler(var fails: Boolean = false) : NpuRuntime {
        override val name = "compiler"
        val compiled = ArrayList<String>()

        override fun open(
            graph: File,
            inputs: List<StaticTensor>,
            outputs: List<StaticTensor>,
            shares: Boolean,
        ): NpuCall = error("no")

        override fun compile(graph: File, target: File) {
            check(!target.exists()) { "the provider refuses a file that exists" }
            target.writeText("of ${graph.name}")
            if (fails) throw BackendException("the NPU does not compile ${graph.name}")
            File(target.parentFile, "${target.nameWithoutExtension}_qnn.bin").writeText("context")
            compiled += graph.path
        }

        override fun close() = Unit
    }

    @Test
    fun whatWasCompiledIsKept() {
        val plan = NpuPlan.of(part.manifest, "SM8550")
        val compiler = Compiler()
        val folder = File(scratch, "contexts")
        fun files(key: String = "a") = ContextCache(folder, key).files(plan, part.folder, compiler)
        val files = files()
        assertEquals("of prefill.onnx", files.getValue(NpuGraph.PREFILL).readText())
        assertEquals(3, compiler.compiled.size)
        assertEquals(files, files())
        assertEquals(3, compiler.compiled.size)
        // The system clears caches in part.
        File(files.getValue(NpuGraph.DECODE).parentFile, "decode_qnn.bin").delete()
        files()
        assertEquals(6, compiler.compiled.size)
        files("another model")
        assertEquals(9, compiler.compiled.size)
        assertEquals(1, folder.list()!!.size, "what belongs to the earlier model is gone")
    }

    @Test
    fun halfACompilationIsNeverUsed() {
        val plan = NpuPlan.of(part.manifest, "SM8550")
        val folder = File(scratch, "contexts")
        val compiler = Compiler(fails = true)
        assertFailsWith<BackendException> { ContextCache(folder, "a").files(plan, part.folder, compiler) }
        assertFalse(folder.exists())
        // As a process leaves it that ends in the middle.
        compiler.fails = false
        val files = ContextCache(folder, "a").files(plan, part.folder, compiler)
        File(files.getValue(NpuGraph.DECODE).parentFile, "complete").delete()
        ContextCache(folder, "a").files(plan, part.folder, compiler)
        assertEquals(6, compiler.compiled.size)
    }

    // --- fixed shapes

    @Test
    fun theMasksNumberIsMinus10000() {
        val bits = StaticDecoder.MASKED.toInt() and 0xFFFF
        val value = (1 + (bits and 0x3FF) / 1024.0) * Math.scalb(1.0, (bits shr 10 and 0x1F) - 15)
        assertEquals(-10000.0, if (bits shr 15 == 1) -value else value)
    }

    /** New rows go behind the earlier ones of each head, whatever a value takes. */
    @Test
    fun anInt8CacheHasAByteForEveryValue() {
        val manifest = Manifest(json(part) + ("kv_cache" to "int8"))
        val call = StaticDecoder(manifest).call(3)
        val (past, present) = "past_key_values.1.value" to "present.1.value"
        val old = call.inputs.single { it.name == past }
        val new = call.outputs.single { it.name == present }
        assertEquals(listOf(StaticTensor.Type.I8, StaticTensor.Type.I8), listOf(old.type, new.type))
        assertEquals(manifest.kvHeads * manifest.context * manifest.cacheWidths[1], old.data.capacity())
        val width = manifest.cacheWidths[1]
        call.decode(FloatArray(2 * manifest.hidden), 4) {
            for (n in 0 until new.data.capacity()) new.data.put(n, (n / width + 1).toByte()) // the row, of all heads
        }
        for (head in 0 until manifest.kvHeads) {
            val rows = (0 until manifest.context).map { old.data.get((head * manifest.context + it) * width).toInt() }
            val expected = List(4) { 0 } + listOf(3 * head + 2, 3 * head + 3) + List(manifest.context - 6) { 0 }
            assertEquals(expected, rows)
        }
        assertEquals(StaticTensor.Type.F16, StaticDecoder(part.manifest).call(1).inputs.last().type)
        assertFailsWith<BundleException> { Manifest(json(part) + ("kv_cache" to "int4")) }
    }

    @Test
    fun aTensorThatNoBufferHoldsIsRefused() {
        assertFailsWith<BundleException> { StaticTensor("past", StaticTensor.Type.F16, 1, 64, 1 shl 24, 256) }
    }

    /** The vision encoder alone: the CPU decodes, in pieces that it takes. */
    @Test
    fun theCpuDecodesWhereTheNpuOnlySees() {
        val graphs = mapOf("vision_encoder" to "npu/vision_encoder.onnx")
        val manifest = npu("compiled" to emptyMap<String, Any>(), "graphs" to graphs)
        val plan = NpuPlan.of(manifest, "SM8550")
        val cpu = PipeBackend.of(Vectors.folder(), cpuBundle)
        val runtime = PipeRuntime.of(File(Vectors.folder(), "npu"))
        val backend = NpuBackend(plan, emptyMap(), runtime, cpu, cpuBundle.manifest)
        assertTrue("decoder on the CPU (pipe)" in backend.name, backend.name)
        assertTrue(manifest.chunk > cpuBundle.manifest.chunk)
        val ids = IntArray(manifest.chunk) { manifest.firstId }
        cpu.calls.clear()
        val embeddings = backend.embed(ids)
        val logits = backend.decode(embeddings, 0, backend.makeCache())
        val (piece, rest) = cpuBundle.manifest.chunk to manifest.chunk - cpuBundle.manifest.chunk
        assertEquals(listOf("e$piece", "e$rest", "c", "d0+$piece", "d$piece+$rest"), cpu.calls.toList())
        val alone = PhantomSession(cpuBundle, cpu, pacing = Pacing.UNPACED).prefill(ids.toList(), 0, cpu.makeCache())
        assertEquals(alone.toList(), logits.toList())
    }
}
