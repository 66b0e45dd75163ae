package phantom.edge.core

import java.io.File
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** A `.safetensors` file: named tensors. Throws [BundleException] for one that is truncated or not of this format. */
class Safetensors internal constructor(private val data: ByteBuffer, private val name: String) {
    private class Entry(val dtype: String, val shape: List<Long>, val begin: Long, val end: Long)

    private val start: Long
    private val entries: Map<String, Entry>

    /** Texts that the writer added, by name. */
    val metadata: Map<String, String>

    val names: Set<String>
        get() = entries.keys

    init {
        data.order(ByteOrder.LITTLE_ENDIAN)
        val length = if (data.limit() < 8) -1 else data.getLong(0)
        if (length !in 0..minOf(HEADER_LIMIT, data.limit() - 8L)) damaged()
        start = 8 + length
        val header = ByteArray(length.toInt()).also { view(8, start).get(it) }
        val json = JsonReader.read(header) as? Map<*, *> ?: damaged()
        metadata =
            (json["__metadata__"] as? Map<*, *>).orEmpty().entries.associate { (key, value) ->
                key as String to (value as? String ?: damaged())
            }
        entries =
            (json - "__metadata__").entries.associate { (key, value) ->
                val offsets = (value["data_offsets"] as? List<*>)?.map { it.long ?: damaged() }
                val shape = (value["shape"] as? List<*>)?.map { it.long?.takeIf { size -> size >= 0 } ?: damaged() }
                if (offsets?.size != 2 || shape == null || offsets[0] !in 0..offsets[1]) damaged()
                if (offsets[1] > data.limit() - start) damaged()
                key as String to Entry(value["dtype"] as? String ?: damaged(), shape, offsets[0], offsets[1])
            }
    }

    /** Shape of a tensor. */
    fun shape(tensor: String): List<Int> = entry(tensor).shape.map { it.toInt() }

    /** Values of an F32 tensor, the last axis fastest. */
    fun floats(tensor: String): FloatArray {
        val part = part(tensor, "F32", 4).asFloatBuffer()
        return FloatArray(part.limit()).also { part.get(it) }
    }

    /** Values of an I64 tensor. */
    fun longs(tensor: String): LongArray {
        val part = part(tensor, "I64", 8).asLongBuffer()
        return LongArray(part.limit()).also { part.get(it) }
    }

    /** Values of a U8 tensor. */
    fun bytes(tensor: String): ByteArray {
        val part = part(tensor, "U8", 1)
        return ByteArray(part.limit()).also { part.get(it) }
    }

    private fun entry(tensor: String): Entry =
        entries[tensor] ?: throw BundleException("$name has no tensor $tensor: export the bundle again")

    private fun part(tensor: String, dtype: String, width: Int): ByteBuffer {
        val entry = entry(tensor)
        val size =
            try {
                entry.shape.fold(width.toLong(), Math::multiplyExact)
            } catch (error: ArithmeticException) {
                -1
            }
        if (entry.dtype != dtype || size != entry.end - entry.begin) {
            throw BundleException("tensor $tensor is ${entry.dtype}, not $dtype of its shape: export the bundle again")
        }
        return view(start + entry.begin, start + entry.end)
    }

    private fun view(begin: Long, end: Long): ByteBuffer {
        val view = data.duplicate()
        // As a Buffer: ByteBuffer's own methods of these names are missing before Android 14.
        (view as Buffer).position(begin.toInt())
        (view as Buffer).limit(end.toInt())
        return view.slice().order(ByteOrder.LITTLE_ENDIAN)
    }

    private fun damaged(): Nothing = throw BundleException("$name is damaged: export the bundle again")

    companion object {
        private const val HEADER_LIMIT = 16L shl 20
        internal const val FILE_LIMIT = 1L shl 30

        /** The tensors of a file. */
        fun open(file: File): Safetensors {
            if (file.length() > FILE_LIMIT) throw BundleException("${file.name} is over ${FILE_LIMIT shr 20} MiB")
            return Safetensors(ByteBuffer.wrap(file.readBytes()), file.name)
        }
    }
}
