package phantom.edge.core

import java.io.Closeable
import java.io.File

/** What loads and runs graphs of fixed shapes on an NPU: ONNX Runtime with the QNN provider, or a test's own. */
interface NpuRuntime : Closeable {
    /** What runs it, for reports, such as `ONNX Runtime 1.27.0, QNN 2.7.0`. */
    val name: String

    /**
     * Loads a graph, which has to run on the NPU as a whole. It reads [inputs] and writes [outputs] where they lie. One
     * that [shares] takes its weights from the context binary of one that was loaded before, where both are in it.
     *
     * Throws [BackendException] when it does not load.
     */
    fun open(graph: File, inputs: List<StaticTensor>, outputs: List<StaticTensor>, shares: Boolean): NpuCall

    /** Compiles a graph for this device: writes [target], and what it needs beside it. Throws [BackendException]. */
    fun compile(graph: File, target: File)
}

/** A loaded graph: [run] computes its outputs from what its inputs hold at that moment. */
interface NpuCall : Closeable {
    fun run()
}
