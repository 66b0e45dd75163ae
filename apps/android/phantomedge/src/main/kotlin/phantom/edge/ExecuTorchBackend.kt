package phantom.edge

import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor
import phantom.edge.core.Backend
import phantom.edge.core.BackendException
import phantom.edge.core.BundleException
import phantom.edge.core.DecoderCache
import phantom.edge.core.Graph
import phantom.edge.core.InputException
import phantom.edge.core.ModelBundle

/**
 * A bundle's `model.pte` in ExecuTorch.
 *
 * The program holds the keys and values, so one chat at a time: a new one ends the earlier. The runtime ends the
 * process on a call that it does not like, so every call is checked here first. [threads] 0 leaves their number to
 * ExecuTorch.
 *
 * Throws [BundleException] for a bundle of another format, [BackendException] when ExecuTorch does not load it.
 */
class ExecuTorchBackend(bundle: ModelBundle, private val threads: Int = 0) : Backend {
    private class Cache : DecoderCache

    override val name = "ExecuTorch"
    private val manifest = bundle.manifest
    private val path = bundle.file(Graph.TEXT_DECODER).path

    // Two handles on one file: the vision encoder's packed weights can then be given back by themselves.
    private var text: Module?
    private var vision: Module? = null
    private var visionSize = 0
    private var current: Cache? = null

    init {
        if (manifest.format != "executorch") {
            throw BundleException(
                "the bundle's format is ${manifest.format}, not executorch: export with `--target android`",
            )
        }
        text = open()
    }

    override fun encode(tile: FloatArray): FloatArray {
        val size = manifest.tileOf(tile.size).size
        val shape = longArrayOf(1, 3, size.toLong(), size.toLong())
        return run(visionEncoder(size), method(size), Tensor.fromBlob(tile, shape))
    }

    override fun embed(ids: IntArray): FloatArray {
        checkCall(ids.size, 0)
        if (ids.any { it !in 0 until manifest.vocabulary }) {
            throw InputException("an id lies outside the vocabulary of ${manifest.vocabulary}")
        }
        val tensor = Tensor.fromBlob(LongArray(ids.size) { ids[it].toLong() }, longArrayOf(1, ids.size.toLong()))
        return run(opened(), Graph.TOKEN_EMBEDDING.method, tensor)
    }

    override fun makeCache(): DecoderCache = Cache().also { current = it }

    override fun decode(embeddings: FloatArray, position: Int, cache: DecoderCache): FloatArray {
        if (cache !== current) throw BackendException("a newer chat has taken this one's place: ask there")
        val rows = embeddings.size / manifest.hidden
        checkCall(rows, position)
        val shape = longArrayOf(1, rows.toLong(), manifest.hidden.toLong())
        val places = LongArray(rows) { (position + it).toLong() }
        val positions = Tensor.fromBlob(places, longArrayOf(rows.toLong()))
        return run(opened(), Graph.TEXT_DECODER.method, Tensor.fromBlob(embeddings, shape), positions)
    }

    /** Loads graphs now instead of at their first call; of the vision encoders the default size's. */
    fun prepare(graphs: List<Graph> = Graph.entries) {
        for (graph in graphs) {
            val module = if (graph == Graph.VISION_ENCODER) visionEncoder(manifest.tileSize) else opened()
            translated("load $path") { module.loadMethod(graph.method) }
        }
    }

    /** Gives the vision encoder's memory back; the next picture loads it again. */
    override fun trim() {
        vision?.destroy()
        vision = null
    }

    override fun close() {
        trim()
        text?.destroy()
        text = null
        current = null
    }

    private fun checkCall(rows: Int, position: Int) {
        if (rows !in 1..manifest.chunk || position < 0 || position + rows > manifest.context) {
            throw InputException("$rows tokens at $position are no call that this decoder takes")
        }
    }

    /** The handle of the vision encoder for tiles of [size], instead of that for another. */
    private fun visionEncoder(size: Int): Module {
        if (size != visionSize) trim()
        visionSize = size
        return vision ?: open().also { vision = it }
    }

    private fun method(tileSize: Int): String =
        Graph.VISION_ENCODER.method + if (tileSize == manifest.tileSize) "" else "_$tileSize"

    private fun opened(): Module = text ?: throw BackendException("the session is closed: load the bundle again")

    private fun open(): Module =
        translated("load $path") { Module.load(path, Module.LOAD_MODE_MMAP, threads) }

    private fun run(module: Module, method: String, vararg inputs: Tensor): FloatArray =
        translated("run $method") {
            val values = inputs.map { EValue.from(it) }.toTypedArray()
            // A copy: the tensor itself is a view of memory that the next call writes over.
            module.execute(method, *values)[0].toTensor().dataAsFloatArray
        }

    private inline fun <T> translated(what: String, work: () -> T): T =
        try {
            work()
        } catch (error: RuntimeException) { // ExecutorchRuntimeException, IllegalStateException of its wrappers
            throw BackendException("ExecuTorch does not $what: ${error.message}", error)
        }
}
