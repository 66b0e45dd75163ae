package phantom.edge.core

import java.io.File
import java.nio.file.Files
import java.nio.file.LinkOption
import java.security.MessageDigest

/** The three graphs of a bundle, by the names that the artifact has for them. */
enum class Graph(val method: String) {
    VISION_ENCODER("vision_encoder"),
    TOKEN_EMBEDDING("token_embedding"),
    TEXT_DECODER("text_decoder"),
}

/**
 * A folder that `phantom-edge export` wrote: its manifest and its files.
 *
 * Unless [verify] is false the size and SHA-256 of every file are compared with the manifest. That takes some seconds
 * per gigabyte: do it once after a download, not at every start.
 *
 * Throws [BundleException] for a folder that is no bundle, and for a file that is missing, changed or not listed.
 */
class ModelBundle(val folder: File, verify: Boolean = true) {
    val manifest: Manifest

    init {
        if (!File(folder, MANIFEST).exists()) throw BundleException("$folder has no $MANIFEST: give a bundle's folder")
        manifest = Manifest.read(read(MANIFEST, MANIFEST_LIMIT))
        if (verify) checkFiles()
    }

    /** Where a graph's artifact lies. */
    fun file(graph: Graph): File {
        val path = manifest.graphs[graph.method]?.takeIf(Manifest::isInside)
            ?: throw BundleException("manifest.json names a ${graph.method} outside the bundle: do not use it")
        return File(folder, path)
    }

    /** Bytes of the listed files that hold the graphs. */
    val graphBytes: Long
        get() =
            manifest.graphs.values.distinct().sumOf { path ->
                manifest.files.filterKeys { it == path || it.startsWith("$path/") }.values.sumOf { it.bytes }
            }

    /** The bundle's recorded inputs and outputs, with tiles of one of its sizes. */
    internal fun golden(tile: Manifest.TileSize = manifest.tileSizes.first()): File =
        File(folder, if (tile.size == manifest.tileSize) GOLDEN else "golden_${tile.size}.safetensors")

    /** SHA-256 of the manifest, and so of every file that it lists. */
    val digest: String
        get() = sha256(File(folder, MANIFEST))

    /** The bundle's tokenizer. */
    fun tokenizer(): Tokenizer = Tokenizer(read(TOKENIZER, Tokenizer.FILE_LIMIT))

    /** Throws [BundleException] naming the first file that is missing, changed or not listed. */
    fun checkFiles() {
        checkFiles(manifest.files.keys)
        val contents = folder.walkTopDown().filter { !it.isDirectory }
        val names = contents.map { it.relativeTo(folder).invariantSeparatorsPath }
        (names.toSortedSet() - manifest.files.keys - MANIFEST).firstOrNull()?.let {
            throw BundleException("$it is not listed in the bundle's manifest: remove it")
        }
    }

    /** The same for [names] alone, of a bundle of which no more was fetched; without [contents] by their size only. */
    fun checkFiles(names: Set<String>, contents: Boolean = true) {
        for (name in names.sorted()) {
            val file = File(folder, name)
            val entry = manifest.files[name]
            if (entry == null || !isRegular(file)) {
                throw BundleException("$name is missing from the bundle: copy all of it again")
            }
            if (file.length() != entry.bytes || (contents && sha256(file) != entry.sha256)) {
                throw BundleException("$name is not the file that was exported: copy the bundle again")
            }
        }
    }

    /** Contents of a file of at most [limit] bytes. */
    internal fun read(name: String, limit: Long): ByteArray {
        val file = File(folder, name)
        if (!isRegular(file)) throw BundleException("$name is missing from the bundle: copy all of it again")
        if (file.length() > limit) throw BundleException("$name is over ${limit shr 20} MiB: export the bundle again")
        return file.readBytes()
    }

    companion object {
        const val MANIFEST = "manifest.json"
        const val TOKENIZER = "tokenizer.json"
        const val GOLDEN = "golden.safetensors"
        internal const val MANIFEST_LIMIT = 16L shl 20

        /** A file, and no link to one. */
        internal fun isRegular(file: File): Boolean = Files.isRegularFile(file.toPath(), LinkOption.NOFOLLOW_LINKS)

        /** SHA-256 of a file's contents in lower-case hex. */
        internal fun sha256(file: File): String {
            val digest = MessageDigest.getInstance("SHA-256")
            val buffer = ByteArray(1 shl 20)
            file.inputStream().use { stream ->
                while (true) {
                    val count = stream.read(buffer)
                    if (count < 0) break
                    digest.update(buffer, 0, count)
                }
            }
            return digest.digest().joinToString("") { "%02x".format(it) }
        }
    }
}
