package phantom.edge.core

import java.io.File

/**
 * A bundle's graphs on an NPU, and what isn't there on the CPU, by [cpu]: always the embedding, and the decoder where
 * the plan has only the vision encoder. [files] are the plan's graphs, loadable as they are.
 *
 * It closes [cpu] and [runtime] with itself. The NPU's decoder has one cache, so a new chat ends the earlier one.
 */
class NpuBackend(
    plan: NpuPlan,
    private val files: Map<NpuGraph, File>,
    private val runtime: NpuRuntime,
    private val cpu: Backend,
    private val cpuManifest: Manifest,
) : Backend {
    private class Cache : DecoderCache

    private val manifest = plan.manifest
    private val decoder = if (plan.decodes) StaticDecoder(manifest) else null
    private val calls = HashMap<NpuGraph, NpuCall>()
    private var current: Cache? = null

    override val name =
        if (plan.decodes) "NPU (${runtime.name})" else "NPU (${runtime.name}), decoder on the CPU (${cpu.name})"

    private val pixels by lazy {
        StaticTensor("pixel_values", StaticTensor.Type.F32, 1, 3, manifest.tileSize, manifest.tileSize)
    }
    private val features by lazy {
        StaticTensor("image_features", StaticTensor.Type.F32, 1, manifest.tileTokens, manifest.hidden)
    }

    init {
        checkPair(cpuManifest, manifest)
    }

    override fun encode(tile: FloatArray): FloatArray {
        if (tile.size != pixels.elements) {
            throw InputException("a tile has ${tile.size} values, not ${pixels.elements}")
        }
        pixels.put(tile)
        opened(NpuGraph.VISION_ENCODER, listOf(pixels), listOf(features)).run()
        return features.floats()
    }

    override fun embed(ids: IntArray): FloatArray =
        ids.asList().chunked(cpuManifest.chunk).map { cpu.embed(it.toIntArray()) }.joined()

    override fun makeCache(): DecoderCache =
        if (decoder == null) cpu.makeCache() else Cache().also { current = it }

    override fun decode(embeddings: FloatArray, position: Int, cache: DecoderCache): FloatArray {
        if (decoder == null) return decodeOnCpu(embeddings, position, cache)
        if (cache !== current) throw BackendException("a newer chat has taken this one's place: ask there")
        val rows = embeddings.size / manifest.hidden
        if (rows !in 1..manifest.chunk || position < 0 || position + rows > manifest.context) {
            throw InputException("$rows tokens at $position are no call that this decoder takes")
        }
        val (graph, call) = call(decoder, rows)
        return call.decode(embeddings, position) { opened(graph, call.inputs, call.outputs).run() }
    }

    /** The two bundles may have been exported with chunks of other lengths. */
    private fun decodeOnCpu(embeddings: FloatArray, position: Int, cache: DecoderCache): FloatArray {
        val piece = cpuManifest.chunk * manifest.hidden
        var logits = FloatArray(0)
        for (start in embeddings.indices step piece) {
            val part = embeddings.copyOfRange(start, minOf(start + piece, embeddings.size))
            logits = cpu.decode(part, position + start / manifest.hidden, cache)
        }
        return logits
    }

    /** Loads every graph now instead of at its first call. */
    fun prepare() {
        opened(NpuGraph.VISION_ENCODER, listOf(pixels), listOf(features))
        val decoder = decoder ?: return
        for (rows in listOf(manifest.chunk, 1)) {
            val (graph, call) = call(decoder, rows)
            opened(graph, call.inputs, call.outputs)
        }
    }

    /** Gives the vision encoder's memory back; the next picture loads it again. */
    override fun trim() {
        calls.remove(NpuGraph.VISION_ENCODER)?.close()
        cpu.trim()
    }

    override fun close() {
        calls.values.forEach { it.close() }
        calls.clear()
        current = null
        cpu.close()
        runtime.close()
    }

    private fun call(decoder: StaticDecoder, rows: Int): Pair<NpuGraph, StaticDecoder.Call> =
        if (rows == 1) NpuGraph.DECODE to decoder.call(1) else NpuGraph.PREFILL to decoder.call(manifest.chunk)

    private fun opened(graph: NpuGraph, inputs: List<StaticTensor>, outputs: List<StaticTensor>): NpuCall =
        calls.getOrPut(graph) {
            runtime.open(files.getValue(graph), inputs, outputs, shares = graph != NpuGraph.VISION_ENCODER)
        }

    companion object {
        /**
         * Throws [BundleException] unless one bundle's image tokens and embeddings fit the other's decoder: the same
         * checkpoint, fold and integers, and a context on the CPU that holds what the NPU's part promises.
         */
        fun checkPair(cpu: Manifest, npu: Manifest) {
            fun shapes(of: Manifest): List<Any> =
                listOf(of.hidden, of.vocabulary, of.tileSize, of.tileTokens, of.imageId, of.firstId, of.endIds)
            val difference =
                cpu.origin.difference(npu.origin)
                    ?: "other shapes or ids".takeIf { shapes(cpu) != shapes(npu) }
                    ?: "a longer context".takeIf { npu.context > cpu.context }
                    ?: return
            throw BundleException("the NPU's bundle has $difference than the CPU's: export both from the same model")
        }
    }
}
