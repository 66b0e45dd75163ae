package phantom.edge.core

import java.io.DataInputStream
import java.io.File
import java.io.FileInputStream
import java.io.FileOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The bundle's real graphs, run by the Python package at the other end of two named pipes
 * (`tests/apps/native_server.py`).
 */
class PipeBackend private constructor(folder: File, private val hidden: Int) : Backend {
    private class Cache : DecoderCache

    override val name = "pipe"
    val calls = ArrayList<String>()
    private val requests = FileOutputStream(File(folder, "requests"))
    private val answers = DataInputStream(FileInputStream(File(folder, "answers")).buffered())

    override fun encode(tile: FloatArray) = call("v", 0, tile.size) { tile.forEach(it::putFloat) }

    override fun embed(ids: IntArray) = call("e", 0, ids.size) { ids.forEach(it::putInt) }

    override fun makeCache(): DecoderCache {
        call("c", 0, 0) {}
        return Cache()
    }

    override fun decode(embeddings: FloatArray, position: Int, cache: DecoderCache) =
        call("d", position, embeddings.size) { embeddings.forEach(it::putFloat) }

    override fun trim() {
        calls += "trim"
    }

    override fun close() {
        requests.close()
        answers.close()
    }

    private fun call(kind: String, position: Int, count: Int, write: (ByteBuffer) -> Unit): FloatArray {
        calls += if (kind == "d") "d$position+${count / hidden}" else if (kind == "e") "e$count" else kind
        val message = ByteBuffer.allocate(9 + 4 * count).order(ByteOrder.LITTLE_ENDIAN)
        message.put(kind[0].code.toByte()).putInt(position).putInt(count)
        write(message)
        requests.write(message.array())
        val length = read(4).getInt(0)
        if (length < 0) throw BackendException(String(read(read(4).getInt(0)).array()))
        val values = read(4 * length)
        return FloatArray(length) { values.getFloat(4 * it) }
    }

    private fun read(count: Int): ByteBuffer =
        ByteBuffer.wrap(ByteArray(count).also(answers::readFully)).order(ByteOrder.LITTLE_ENDIAN)

    companion object {
        private val connections = HashMap<File, PipeBackend>()

        /** The process's only one for a folder: its server takes one client. */
        fun of(folder: File, bundle: ModelBundle): PipeBackend =
            connections.getOrPut(folder) { PipeBackend(folder, bundle.manifest.hidden) }
    }
}
