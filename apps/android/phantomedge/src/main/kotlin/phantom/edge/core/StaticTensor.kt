package phantom.edge.core

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * An input or output of a graph of fixed shapes: zeros at first, in memory outside the heap that a runtime reads and
 * writes where it lies.
 *
 * Throws [BundleException] for a tensor that no buffer can hold.
 */
class StaticTensor(val name: String, val type: Type, vararg val shape: Int) {
    /** How a value is stored: float32, int32, int8, or float16 as its two bytes. */
    enum class Type(val bytes: Int) {
        F32(4),
        F16(2),
        I32(4),
        I8(1),
    }

    val elements: Int
    val data: ByteBuffer

    init {
        val count = shape.fold(1L) { product, size -> Math.multiplyExact(product, size.toLong()) }
        if (count * type.bytes > MOST_BYTES) {
            throw BundleException("$name takes ${count * type.bytes shr 20} MiB: export with a smaller context")
        }
        elements = count.toInt()
        data = ByteBuffer.allocateDirect(elements * type.bytes).order(ByteOrder.nativeOrder())
    }

    /** Copies values to the place of element [at] and on. */
    fun put(values: FloatArray, at: Int = 0) {
        val floats = data.asFloatBuffer()
        (floats as Buffer).position(at) // as a Buffer: its own method of this name is missing before Android 14
        floats.put(values)
    }

    /** All values of a float32 tensor. */
    fun floats(): FloatArray = FloatArray(elements).also { data.asFloatBuffer().get(it) }

    private companion object {
        const val MOST_BYTES = 1L shl 30
    }
}
