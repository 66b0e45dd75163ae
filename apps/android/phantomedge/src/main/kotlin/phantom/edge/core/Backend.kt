package phantom.edge.core

import java.io.Closeable

/** One sequence's keys and values, made by a backend and only understood by it. */
interface DecoderCache

/**
 * Runs the three graphs of one bundle. Calls come from one thread at a time.
 *
 * A cache has no length of its own: positions are given with every call, and what lies beyond them is neither read nor
 * kept. So a conversation is taken back by using an earlier position again.
 */
interface Backend : Closeable {
    /** What runs it, for reports. */
    val name: String

    /**
     * A tile `[3, S, S]` of RGB in 0..1 to image tokens `[N, hidden]`; S is any of the bundle's sizes. Only the vision
     * encoder of the size that was last used stays loaded.
     */
    fun encode(tile: FloatArray): FloatArray

    /** Ids to embeddings `[ids, hidden]`; at most the bundle's `chunk` at once. */
    fun embed(ids: IntArray): FloatArray

    /** An empty cache. A backend whose runtime holds only one ends the earlier one with it. */
    fun makeCache(): DecoderCache

    /** Continues a cache at [position] with embeddings `[S, hidden]`, S up to `chunk`: logits of the last of them. */
    fun decode(embeddings: FloatArray, position: Int, cache: DecoderCache): FloatArray

    /** Gives memory back that can be had again, such as a loaded vision encoder. */
    fun trim()
}
