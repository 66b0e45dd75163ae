package phantom.edge.core

import java.io.DataInputStream
import java.io.DataOutputStream
import java.io.File
import java.io.FileInputStream
import java.io.FileOutputStream
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Fixed graphs, computed by the Python package at the other end of two named pipes (`tests/support/native_npu.py`). */
class PipeRuntime private constructor(folder: File) : NpuRuntime {
    override val name = "pipe"
    val opened = ArrayList<String>()
    val calls = ArrayList<String>()
    private val requests = DataOutputStream(FileOutputStream(File(folder, "requests")).buffered())
    private val answers = DataInputStream(FileInputStream(File(folder, "answers")).buffered())

    override fun open(
        graph: File,
        inputs: List<StaticTensor>,
        outputs: List<StaticTensor>,
        shares: Boolean,
    ): NpuCall {
        check(shares == ("encoder" !in graph.name)) { "the two decoders have one set of weights" }
        opened += graph.path
        return object : NpuCall {
            override fun run() = call(graph.nameWithoutExtension, inputs, outputs)

            override fun close() {
                opened -= graph.path
            }
        }
    }

    override fun compile(graph: File, target: File) = throw BackendException("there is no compiler here")

    /** The pipes are the process's. */
    override fun close() = Unit

    private fun call(graph: String, inputs: List<StaticTensor>, outputs: List<StaticTensor>) {
        calls += graph
        send(graph.toByteArray())
        count(inputs.size)
        for (tensor in inputs) {
            send(tensor.name.toByteArray())
            send(ByteArray(tensor.data.capacity()).also { tensor.data.duplicate().get(it) })
        }
        count(outputs.size)
        for (tensor in outputs) send(tensor.name.toByteArray())
        requests.flush()
        for (tensor in outputs) {
            val length = Integer.reverseBytes(answers.readInt())
            if (length < 0) throw BackendException(String(received(Integer.reverseBytes(answers.readInt()))))
            check(length == tensor.data.capacity()) { "${tensor.name} has $length bytes, not ${tensor.data.capacity()}" }
            val target = tensor.data.duplicate()
            (target as Buffer).position(0)
            target.put(received(length))
        }
    }

    private fun count(value: Int) =
        requests.write(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array())

    private fun send(bytes: ByteArray) {
        count(bytes.size)
        requests.write(bytes)
    }

    private fun received(count: Int) = ByteArray(count).also(answers::readFully)

    companion object {
        private var connection: PipeRuntime? = null

        /** The process's only one: the server takes one client. */
        fun of(folder: File): PipeRuntime = connection ?: PipeRuntime(folder).also { connection = it }
    }
}
