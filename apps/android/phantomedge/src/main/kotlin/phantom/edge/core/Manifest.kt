package phantom.edge.core

/** What `manifest.json` says about a bundle, as far as an app needs it. Sizes are in tokens unless said otherwise. */
class Manifest internal constructor(json: Any?) {
    /** One file's size in bytes and its SHA-256 in hex. */
    class FileEntry(val bytes: Long, val sha256: String)

    /** A size of tiles: its side in pixels, the tokens of one, and the path of its vision encoder. */
    data class TileSize(val size: Int, val tokens: Int, val visionEncoder: String) {
        internal constructor(other: Fields) :
            this(other.size("size"), other.size("tokens"), other.text("vision_encoder"))
    }

    private val fields = Fields(json, ModelBundle.MANIFEST)

    init {
        val schema = json["schema"].int ?: 0
        if (schema < 1) throw BundleException("${ModelBundle.MANIFEST} is not the manifest of a phantom-edge bundle")
        if (schema > SCHEMA) {
            throw BundleException("the bundle's schema $schema is newer than this app reads ($SCHEMA): update the app")
        }
        if (schema < SCHEMA) {
            throw BundleException(
                "the bundle's schema $schema is of an earlier phantom-edge, this app reads $SCHEMA: export it again",
            )
        }
    }

    val target: String = fields.text("target")
    val format: String = fields.text("format")

    /** What the model knows, in one sentence of its own; null where it does not say. */
    val knows: String? = fields.sentenceOrNone("knows")

    /** Path of each graph below the bundle's folder. */
    val graphs: Map<String, String> =
        mapOf(
            Graph.VISION_ENCODER.method to fields.text("graphs.vision_encoder"),
            Graph.TOKEN_EMBEDDING.method to fields.text("graphs.token_embedding"),
            Graph.TEXT_DECODER.method to fields.text("graphs.text_decoder"),
        )

    val prompt: PromptTemplate = PromptTemplate.of(fields)

    /** Side of a tile in pixels, tokens of one, the most of them, and whether a thumbnail follows several. */
    val tileSize: Int = fields.size("tiles.size")
    val tileTokens: Int = fields.size("tiles.tokens")
    val maxTiles: Int = fields.size("tiles.max")
    val hasThumbnail: Boolean = fields.flag("tiles.thumbnail")

    /** Every size of tiles that may be chosen, the default first. */
    val tileSizes: List<TileSize> =
        listOf(TileSize(tileSize, tileTokens, graphs.getValue(Graph.VISION_ENCODER.method))) +
            fields.itemsOrNone("tiles.others").map { TileSize(it) }

    /** Token ids: the folded first token, the place of an image token, and those that end an answer. */
    val firstId: Int = fields.whole("ids.first")
    val imageId: Int = fields.whole("ids.image")
    val endIds: List<Int> = fields.wholes("ids.end")

    val hidden: Int = fields.size("shape.hidden")
    val vocabulary: Int = fields.size("shape.vocabulary")
    val layers: Int = fields.size("shape.layers")
    val kvHeads: Int = fields.size("shape.kv_heads")

    /** Channels of a cached key or value, layer by layer. */
    val cacheWidths: List<Int> = fields.wholes("shape.cache_widths")

    /** Whether the KV cache is in int8; otherwise in float, as the runtime has it. */
    val hasInt8Cache: Boolean =
        when (val kind = fields.text("kv_cache")) {
            "float" -> false
            "int8" -> true
            else -> throw BundleException("a KV cache of $kind is unknown: update the app")
        }

    /** Length of the KV cache. */
    val context: Int = fields.size("context")

    /** The most tokens that one call of the decoder takes. */
    val chunk: Int = fields.size("chunk")

    val files: Map<String, FileEntry> =
        fields.entries("files").mapValues { (_, entry) -> FileEntry(entry.bytes("bytes"), entry.text("sha256")) }

    /** What runs on an NPU; null where nothing does. */
    val npu: Npu? = fields.optional("npu")?.let(::Npu)

    /** What the bundle was made of. Bundles of the same fit each other: one's image tokens, the other's decoder. */
    internal val origin: Origin = Origin(fields)

    init {
        val ids = endIds + imageId + firstId
        val widthsFit = cacheWidths.size == layers && cacheWidths.all { it > 0 }
        if (!widthsFit || endIds.isEmpty() || ids.any { it !in 0 until vocabulary }) {
            throw BundleException("${ModelBundle.MANIFEST} contradicts itself: export the bundle again")
        }
        files.keys.firstOrNull { !isInside(it) }?.let {
            throw BundleException("${ModelBundle.MANIFEST} names $it, which lies outside the bundle: do not use it")
        }
    }

    /** One of [tileSizes] by its side in pixels. Throws [InputException], which names those that there are. */
    fun tileSize(size: Int): TileSize {
        val sizes = tileSizes.joinToString { "${it.size}" }
        return tileSizes.firstOrNull { it.size == size }
            ?: throw InputException("the bundle has no tiles of $size pixels: choose one of its sizes, $sizes")
    }

    /** The size of a tile `[3, S, S]` of so many values. Throws as [tileSize] does. */
    internal fun tileOf(values: Int): TileSize {
        val shapes = tileSizes.joinToString(" or ") { "3x${it.size}x${it.size}" }
        return tileSizes.firstOrNull { 3 * it.size * it.size == values }
            ?: throw InputException("a tile has $values values, not $shapes")
    }

    /** Elements of all keys and values that the cache of one sequence holds. */
    val cacheElements: Long
        get() = 2L * kvHeads * context * cacheWidths.sumOf { it.toLong() }

    companion object {
        /** The layout that this library reads. */
        const val SCHEMA = 2

        /** The manifest in a file's bytes. Throws [BundleException] for what is none, or is newer than this library. */
        fun read(json: ByteArray): Manifest = Manifest(JsonReader.read(json))

        /** Whether a relative path stays below the folder that it starts from. */
        internal fun isInside(path: String): Boolean =
            path.isNotEmpty() && !path.startsWith("/") && ".." !in path.split("/")
    }
}

/** What a bundle was made of: the checkpoint's files, how it was folded, and what each module's integers came from. */
internal class Origin(fields: Fields) {
    private class Rule(rule: Fields) {
        val match: String = rule.text("match")
        val to: String = rule.text("to")
    }

    private val checkpoint: Map<String, String> = fields.texts("source.sha256")
    private val fold: String = fields.text("fold.fold")
    private val rules: List<Rule> = fields.items("recipe.rules").map(::Rule)
    private val integers: Map<String, String>? =
        fields.optional("quantization")?.let { quantization -> quantization.texts("integers") }

    /** What differs from another bundle, in words; null where nothing does. */
    fun difference(other: Origin): String? =
        when {
            checkpoint != other.checkpoint -> "another checkpoint"
            fold != other.fold -> "another fold"
            integers != other.integers -> "other integers"
            rules.map { it.match to it.to } != other.rules.map { it.match to it.to } -> "another recipe"
            else -> null
        }
}

/** Fields of a JSON file by their path, such as `tiles.size`; one that is missing or of another type is named. */
internal class Fields(private val json: Any?, private val file: String, private val below: String = "") {
    fun text(path: String): String = read(path, "a text") { it as? String }

    /** A line of 1 to 200 characters that may be missing. */
    fun sentenceOrNone(name: String): String? =
        json[name]?.let { read(name, "a sentence of up to $SENTENCE_LIMIT characters") { (it as? String)?.takeIf(::isSentence) } }

    fun flag(path: String): Boolean = read(path, "true or false") { it as? Boolean }

    fun whole(path: String): Int = read(path, "a whole number") { it.int }

    fun wholes(path: String): List<Int> =
        read(path, "a list of whole numbers") { list -> (list as? List<*>)?.map { it.int ?: return@read null } }

    fun bytes(path: String): Long = read(path, "a number of bytes") { value -> value.long?.takeIf { it >= 0 } }

    /** A whole number from 1 to [SIZE_LIMIT]. */
    fun size(path: String): Int =
        read(path, "a size from 1 to $SIZE_LIMIT") { value -> value.int?.takeIf { it in 1..SIZE_LIMIT } }

    /** The members of an object. */
    fun entries(path: String): Map<String, Fields> =
        read(path, "an object") { members ->
            (members as? Map<*, *>)?.entries?.associate { (name, value) ->
                name as String to Fields(value, file, "$below$path.$name.")
            }
        }

    /** The members of an object that are all texts. */
    fun texts(path: String): Map<String, String> =
        read(path, "an object of texts") { members ->
            (members as? Map<*, *>)?.entries?.associate { (name, value) ->
                name as String to (value as? String ?: return@read null)
            }
        }

    /** The objects of a list. */
    fun items(path: String): List<Fields> =
        read(path, "a list") { list ->
            (list as? List<*>)?.mapIndexed { number, item -> Fields(item, file, "$below$path.$number.") }
        }

    /** The objects of a list that may be missing. */
    fun itemsOrNone(path: String): List<Fields> =
        if (path.split('.').fold(json) { part, key -> part[key] } == null) emptyList() else items(path)

    /** An object that may be missing. */
    fun optional(name: String): Fields? = json[name]?.let { Fields(it, file, "$below$name.") }

    private fun <T> read(path: String, type: String, convert: (Any?) -> T?): T {
        val value = path.split('.').fold(json) { part, key -> part[key] }
            ?: throw BundleException("$file lacks $below$path: export the bundle again")
        return convert(value) ?: throw BundleException("$file: $below$path is not $type: export the bundle again")
    }

    private companion object {
        const val SIZE_LIMIT = 1 shl 24
        const val SENTENCE_LIMIT = 200

        fun isSentence(text: String): Boolean =
            text.codePointCount(0, text.length) in 1..SENTENCE_LIMIT && text.none(Char::isISOControl)
    }
}
