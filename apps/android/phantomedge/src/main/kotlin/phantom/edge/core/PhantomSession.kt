package phantom.edge.core

import java.io.Closeable

/** Called before every call of a graph: throw to cancel what is under way. */
typealias Checkpoint = () -> Unit

/**
 * A bundle with what runs it. One session serves any number of chats, from one thread at a time.
 *
 *     val chat = session.chat(picture)
 *     for (piece in chat.ask("What colour is it?")) print(piece)
 */
class PhantomSession
private constructor(
    val bundle: ModelBundle,
    val backend: Backend,
    val conditions: DeviceConditions,
    val pacing: Pacing,
    val tokenizer: Tokenizer,
    internal val forms: Forms,
    /** The size of the tiles that pictures are cut into. */
    val tile: Manifest.TileSize,
) : Closeable {
    val manifest: Manifest = bundle.manifest

    /**
     * With any backend. [tileSize] is the side in pixels of one of the manifest's sizes of tiles, null its default;
     * throws [InputException] for another.
     */
    constructor(
        bundle: ModelBundle,
        backend: Backend,
        conditions: DeviceConditions = DeviceConditions.Unlimited,
        pacing: Pacing = Pacing(),
        tileSize: Int? = null,
    ) : this(bundle, backend, conditions, pacing, bundle.tokenizer(), tileSize)

    private constructor(
        bundle: ModelBundle,
        backend: Backend,
        conditions: DeviceConditions,
        pacing: Pacing,
        tokenizer: Tokenizer,
        tileSize: Int?,
    ) : this(
        bundle,
        backend,
        conditions,
        pacing,
        tokenizer,
        Forms(bundle.manifest, tokenizer),
        bundle.manifest.tileSize(tileSize ?: bundle.manifest.tileSize),
    )

    /**
     * The same loaded model with tiles of another of `manifest.tileSizes`: smaller ones cost less time and fewer tokens
     * of the context, and show less. The vision encoder of the size before is unloaded with the next picture. Both
     * sessions end when one is closed.
     *
     * Throws [InputException] for a size that the bundle lacks.
     */
    fun atTileSize(size: Int): PhantomSession =
        PhantomSession(bundle, backend, conditions, pacing, tokenizer, forms, manifest.tileSize(size))

    /**
     * A new context, about a picture if one is given.
     *
     * [maxTiles] looks less closely, at most as closely as the bundle was exported for: each tile costs a pass of the
     * vision encoder and `tile.tokens` of the context.
     */
    fun chat(image: RgbImage? = null, maxTiles: Int = manifest.maxTiles): Chat =
        Chat(this, image, policy.copy(max = maxTiles.coerceIn(1, manifest.maxTiles)))

    /** How pictures are cut, unless fewer tiles are asked for. */
    internal val policy: TilePolicy
        get() = TilePolicy(tile.size, manifest.maxTiles, manifest.hasThumbnail)

    /** One question on a new context. */
    fun generate(
        question: String,
        image: RgbImage? = null,
        options: AnswerOptions = AnswerOptions(),
    ): Sequence<String> = chat(image).ask(question, options)

    /** Call it when the system asks for memory. */
    fun trim() = backend.trim()

    override fun close() = backend.close()

    /** Waits as [pacing] says; false when the device is too warm to go on. */
    internal fun pace(check: Checkpoint): Boolean {
        check()
        val level = conditions.thermal
        if (pacing.stopsAt != null && level >= pacing.stopsAt) return false
        pacing.pauses[level]?.let(Thread::sleep)
        return true
    }

    /** Tiles `[3, S, S]` to image tokens, one tile after the other: `[tiles * N, hidden]`. */
    internal fun encode(tiles: Sequence<FloatArray>, check: Checkpoint = {}): FloatArray {
        val parts = tiles.map { tile ->
            proceed(check)
            backend.encode(tile)
        }
        return parts.toList().joined()
    }

    /**
     * Continues a cache at [position] with ids, in chunks; image tokens take the rows of [image] in order. Gives the
     * logits of the last. [done] hears after each chunk how many ids the cache holds by then.
     */
    internal fun prefill(
        ids: List<Int>,
        position: Int,
        cache: DecoderCache,
        image: FloatArray = FloatArray(0),
        check: Checkpoint = {},
        done: (Int) -> Unit = {},
    ): FloatArray {
        var taken = 0
        var length = position
        var logits = FloatArray(0)
        for (part in ids.chunked(manifest.chunk)) {
            proceed(check)
            logits = step(part, length, cache, image, taken)
            taken += part.count { it == manifest.imageId }
            length += part.size
            done(length)
        }
        return logits
    }

    /** One call of the decoder with at most a chunk of ids; their image tokens take [image]'s rows from [row] on. */
    internal fun step(
        ids: List<Int>,
        position: Int,
        cache: DecoderCache,
        image: FloatArray = FloatArray(0),
        row: Int = 0,
    ): FloatArray {
        val embeddings = backend.embed(ids.toIntArray())
        val hidden = manifest.hidden
        val places = ids.indices.filter { ids[it] == manifest.imageId }
        if (places.isNotEmpty() && (row + places.size) * hidden > image.size) {
            throw InputException("the prompt has more image tokens than the image")
        }
        places.forEachIndexed { n, place ->
            image.copyInto(embeddings, place * hidden, (row + n) * hidden, (row + n + 1) * hidden)
        }
        return backend.decode(embeddings, position, cache)
    }

    private fun proceed(check: Checkpoint) {
        if (!pace(check)) throw BackendException("the device is too warm: let it cool, then ask again")
    }

    companion object {
        /** Bytes that a loaded model with one cache takes at most: the artifact's own and the keys and values. */
        fun memoryNeeded(bundle: ModelBundle): Long {
            val cacheWidth = if (bundle.manifest.format == "coreml") 2 else 4 // bytes of fp16 and fp32
            return bundle.graphBytes + bundle.manifest.cacheElements * cacheWidth
        }

        /** Throws [MemoryException] when the system says that it will not have room. Call it before loading. */
        fun checkMemory(bundle: ModelBundle, conditions: DeviceConditions) {
            val needed = memoryNeeded(bundle)
            val available = conditions.availableMemory ?: return
            if (available < needed) throw MemoryException(needed, available)
        }
    }
}
