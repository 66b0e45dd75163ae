package phantom.edge

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.io.File
import java.nio.LongBuffer
import phantom.edge.core.AnswerOptions
import phantom.edge.core.Backend
import phantom.edge.core.ContextCache
import phantom.edge.core.DecoderCache
import phantom.edge.core.DeviceConditions
import phantom.edge.core.Graph
import phantom.edge.core.ModelBundle
import phantom.edge.core.NpuBackend
import phantom.edge.core.NpuVerdict
import phantom.edge.core.Pacing
import phantom.edge.core.Processors
import phantom.edge.core.selfTest

/**
 * The library on Qualcomm's emulator of the NPU: the rules, the compilation that is kept, the golden file and an answer.
 * Arguments: what a phone has of a bundle for the NPU, the whole of it, a bundle for the CPU, a scratch folder, and the
 * emulated chip's number and version.
 */
object Emulated {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val part = ModelBundle(File(arguments[0]), verify = false)
        val (whole, cpu) = arguments.slice(1..2).map { ModelBundle(File(it)) }
        val scratch = File(arguments[3])
        val options =
            part.manifest.npu!!.options + mapOf("soc_model" to arguments[4], "htp_arch" to arguments[5])
        val verdict = NpuVerdict(File(scratch, "verdict"), part.digest)
        // A chip that no file was compiled for: the emulator does not load a binary with two graphs.
        val candidate =
            Processors.Candidate(part, "SM8550", verdict) { plan, embedder ->
                val runtime = QnnRuntime(android.content.Context(), options)
                val contexts = ContextCache(File(scratch, "contexts"), part.digest)
                NpuBackend(plan, contexts.files(plan, part.folder, runtime), runtime, embedder, cpu.manifest)
                    .also { it.prepare() }
            }
        val processors =
            Processors(cpu, DeviceConditions.Unlimited, Pacing.UNPACED) {
                Embedder(whole.file(Graph.TOKEN_EMBEDDING), whole.manifest.hidden)
            }
        val answering = processors.open(candidate) { println("step: $it") }
        println("processor: ${answering.processor}")
        if (!answering.processor.isNpu) return
        println(answering.session.selfTest())
        println("answer: ${answering.session.chat().ask("What is 2+2?", AnswerOptions(4)).joinToString("")}")
        answering.session.close()
    }
}

/** The embedding on this computer's CPU, which on a phone is ExecuTorch's. */
private class Embedder(graph: File, private val hidden: Int) : Backend {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = environment.createSession(graph.path, OrtSession.SessionOptions())

    override val name = "ONNX Runtime"

    override fun embed(ids: IntArray): FloatArray {
        val values = LongBuffer.wrap(LongArray(ids.size) { ids[it].toLong() })
        OnnxTensor.createTensor(environment, values, longArrayOf(1, ids.size.toLong())).use { tensor ->
            session.run(mapOf(session.inputNames.first() to tensor)).use { result ->
                return FloatArray(ids.size * hidden).also { (result.get(0) as OnnxTensor).floatBuffer.get(it) }
            }
        }
    }

    override fun encode(tile: FloatArray) = error("the NPU encodes")

    override fun makeCache() = error("the NPU has the cache")

    override fun decode(embeddings: FloatArray, position: Int, cache: DecoderCache) = error("the NPU decodes")

    override fun trim() = Unit

    override fun close() = session.close()
}
