package phantom.edge.core

import java.nio.Buffer
import java.nio.ByteBuffer

/**
 * Inputs and outputs of a decoder of fixed shapes, and the cache between its calls (docs/bundle.md, *What runs on an
 * NPU*).
 *
 * The graphs take all keys and values of the context and give those of the new rows alone. What was computed so far,
 * and nothing else, is what the mask lets a row see: so a conversation is taken back by using an earlier position again.
 */
internal class StaticDecoder(private val manifest: Manifest) {
    private val context = manifest.context
    private val hidden = manifest.hidden
    private val cacheType = cacheType(manifest)

    /** Keys and values `[1, kv_heads, context, width]` of all layers, by input. */
    private val past = cache("past_key_values", context)
    private val calls = HashMap<Int, Call>()

    /** One graph of [rows] rows, with the memory that it reads and writes. */
    inner class Call internal constructor(val rows: Int) {
        private val embeddings = StaticTensor("inputs_embeds", StaticTensor.Type.F32, 1, rows, hidden)
        private val positions = StaticTensor("position_ids", StaticTensor.Type.I32, 1, rows)
        private val mask = StaticTensor("attention_mask", StaticTensor.Type.F16, 1, 1, rows, context + rows)
        private val logits = StaticTensor("logits", StaticTensor.Type.F32, 1, 1, manifest.vocabulary)
        private val present = cache("present", rows)

        val inputs: List<StaticTensor> = listOf(embeddings, positions, mask) + past
        val outputs: List<StaticTensor> = listOf(logits) + present

        /**
         * Runs the graph, by [run], on embeddings of up to [rows] rows that follow [position] cached ones, and appends
         * what it gives to the cache: logits of the last row.
         */
        fun decode(values: FloatArray, position: Int, run: () -> Unit): FloatArray {
            val count = values.size / hidden
            fill(values, count, position)
            run()
            append(count, position)
            return logits.floats()
        }

        /** A short piece is filled up in front, with zeros that no row but themselves can see. */
        private fun fill(values: FloatArray, count: Int, position: Int) {
            val padding = rows - count
            embeddings.put(FloatArray(padding * hidden))
            embeddings.put(values, padding * hidden)
            val places = positions.data.asIntBuffer()
            for (row in 0 until rows) places.put(row, if (row < padding) 0 else position + row - padding)
            val seen = mask.data.asShortBuffer()
            for (row in 0 until rows) {
                val isPadding = row < padding
                for (column in 0 until context + rows) {
                    val new = column - context // the new row that this column is of; negative for a cached one
                    val visible = if (isPadding) new == row else if (new < 0) column < position else new in padding..row
                    seen.put(row * (context + rows) + column, if (visible) VISIBLE else MASKED)
                }
            }
        }

        /** Puts the last [count] rows of the new keys and values behind those of [position] tokens, head by head. */
        private fun append(count: Int, position: Int) {
            for ((old, new) in past.zip(present)) {
                val row = new.shape[3] * new.type.bytes
                for (head in 0 until manifest.kvHeads) {
                    val from = (head * rows + rows - count) * row
                    val to = (head * context + position) * row
                    copy(new.data, from, old.data, to, count * row)
                }
            }
        }
    }

    /** The graph of [rows] rows. Its memory is made once. */
    fun call(rows: Int): Call = calls.getOrPut(rows) { Call(rows) }

    private fun cache(name: String, rows: Int): List<StaticTensor> =
        manifest.cacheWidths.withIndex().flatMap { (layer, width) ->
            listOf("key", "value").map { kind ->
                StaticTensor("$name.$layer.$kind", cacheType, 1, manifest.kvHeads, rows, width)
            }
        }

    internal companion object {
        /** What the NPU's decoder keeps keys and values in. Integers have their scales in the graph. */
        fun cacheType(manifest: Manifest): StaticTensor.Type =
            if (manifest.hasInt8Cache) StaticTensor.Type.I8 else StaticTensor.Type.F16

        const val VISIBLE: Short = 0

        /** -10000 in float16: exactly zero after the softmax, and no infinity on the way. */
        val MASKED: Short = 0xF0E2.toShort()

        private fun copy(from: ByteBuffer, start: Int, to: ByteBuffer, place: Int, bytes: Int) {
            // As Buffers: ByteBuffer's own methods of these names are missing before Android 14.
            val (source, target) = from.duplicate() to to.duplicate()
            (source as Buffer).position(start)
            (source as Buffer).limit(start + bytes)
            (target as Buffer).position(place)
            target.put(source)
        }
    }
}
