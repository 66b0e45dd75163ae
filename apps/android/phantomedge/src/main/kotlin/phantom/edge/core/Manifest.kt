package phantom.edge.core

/** What `manifest.json` says about a bundle, as far as an app needs it. Sizes are in tokens unless said otherwise. */
class Manifest internal constructor(private val json: Any?) {
    /** One file's size in bytes and its SHA-256 in hex. */
    class FileEntry(val bytes: Long, val sha256: String)

    val schema: Int = json["schema"].int ?: 0

    init {
        if (schema < 1) throw BundleException("the manifest is not one of a phantom-edge bundle")
        if (schema > NEWEST_SCHEMA) {
            throw BundleException(
                "the bundle's schema $schema is newer than this library reads ($NEWEST_SCHEMA): update it",
            )
        }
    }

    val target: String = text("target")
    val format: String = text("format")

    /** Path of each graph below the bundle's folder. */
    val graphs: Map<String, String> =
        members("graphs").mapValues { (name, path) -> path as? String ?: lacks("graphs.$name") }

    val prompt: PromptTemplate = PromptTemplate.of(json["prompt"])

    /** Side of a tile in pixels, tokens of one, the most of them, and whether a thumbnail follows several. */
    val tileSize: Int = size("tiles", "size")
    val tileTokens: Int = size("tiles", "tokens")
    val maxTiles: Int = size("tiles", "max")
    val hasThumbnail: Boolean = json["tiles"]["thumbnail"] as? Boolean ?: lacks("tiles.thumbnail")

    /** Token ids: the folded first token, the place of an image token, and those that end an answer. */
    val firstId: Int? = json["ids"]["first"].int
    val imageId: Int = json["ids"]["image"].int ?: lacks("ids.image")
    val endIds: List<Int> = ints("ids", "end")

    val hidden: Int = size("shape", "hidden")
    val vocabulary: Int = size("shape", "vocabulary")
    val layers: Int = size("shape", "layers")
    val kvHeads: Int = size("shape", "kv_heads")
    private val cacheWidths: List<Int> = ints("shape", "cache_widths")

    /** Length of the KV cache. */
    val context: Int = size(null, "context")

    /** The most tokens that one call of the decoder takes. */
    val chunk: Int = size(null, "chunk")

    val files: Map<String, FileEntry> =
        members("files").mapValues { (name, entry) ->
            val bytes = entry["bytes"].long ?: lacks("files.$name.bytes")
            FileEntry(bytes, entry["sha256"] as? String ?: lacks("files.$name.sha256"))
        }

    init {
        val ids = endIds + imageId + listOfNotNull(firstId)
        if (cacheWidths.size != layers || cacheWidths.any { it < 1 } || ids.any { it !in 0 until vocabulary }) {
            throw BundleException("the manifest contradicts itself: export the bundle again")
        }
        files.keys.firstOrNull { !isInside(it) }?.let {
            throw BundleException("the manifest names $it, which lies outside the bundle: do not use it")
        }
    }

    /** How the bundle cuts pictures, unless fewer tiles are asked for. */
    val tiles: TilePolicy
        get() = TilePolicy(tileSize, maxTiles, hasThumbnail)

    /** Elements of all keys and values that the cache of one sequence holds. */
    val cacheElements: Long
        get() = 2L * kvHeads * context * cacheWidths.sumOf { it.toLong() }

    private fun lacks(field: String): Nothing =
        throw BundleException("the manifest lacks $field: export the bundle again")

    private fun text(key: String): String = json[key] as? String ?: lacks(key)

    private fun members(key: String): Map<String, Any?> =
        (json[key] as? Map<*, *>)?.entries?.associate { it.key as String to it.value } ?: lacks(key)

    private fun ints(group: String, key: String): List<Int> =
        (json[group][key] as? List<*>)?.map { it.int ?: lacks("$group.$key") } ?: lacks("$group.$key")

    private fun size(group: String?, key: String): Int {
        val name = if (group == null) key else "$group.$key"
        val found = (if (group == null) json[key] else json[group][key]).int ?: lacks(name)
        if (found !in 1..SIZE_LIMIT) throw BundleException("the manifest's $name is $found: export the bundle again")
        return found
    }

    companion object {
        /** The newest layout that this library reads. */
        const val NEWEST_SCHEMA = 2
        private const val SIZE_LIMIT = 1 shl 24

        /** Whether a relative path stays below the folder that it starts from. */
        internal fun isInside(path: String): Boolean =
            path.isNotEmpty() && !path.startsWith("/") && ".." !in path.split("/")
    }
}
