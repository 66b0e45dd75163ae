package phantom.edge.ar.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.security.MessageDigest
import phantom.edge.core.Manifest
import phantom.edge.core.ModelBundle

/** Where a bundle's files come from: the app's assets, or a web server. */
fun interface FileSupply {
    /** The file's bytes from [from] on, or from its beginning: see [Part.start]. Throws [IOException]. */
    fun open(name: String, from: Long): Part

    class Part(val stream: InputStream, val start: Long)
}

/**
 * Brings a bundle into the app's own storage, because ExecuTorch maps a file and assets are none.
 *
 * [manifest] is the text of the bundle's `manifest.json`, which is part of the app, so whatever the files come from, each
 * is the one that was exported: its size and SHA-256 are compared before it takes its name. What was cut short goes on
 * where it ended. [names] chooses files of a bundle of which only a part is for this phone; others are removed.
 */
class BundleInstall(
    private val folder: File,
    private val manifest: ByteArray,
    private val supply: FileSupply,
    private val names: (Manifest) -> Set<String> = { it.files.keys },
) {
    /**
     * The complete bundle, or the part of it, brought now as far as it was not there. [onBytes] hears bytes done and bytes in all,
     * [check] is called often and may throw to cancel.
     *
     * Throws [Failure], and [phantom.edge.core.BundleException] for a manifest that is none.
     */
    fun run(check: () -> Unit = {}, onBytes: (Long, Long) -> Unit = { _, _ -> }): ModelBundle {
        prepare()
        val bundle = ModelBundle(folder, verify = false)
        val chosen = names(bundle.manifest)
        val files = bundle.manifest.files.filterKeys { it in chosen }.toSortedMap()
        val total = files.values.sumOf { it.bytes }
        var done = 0L
        removeOthers(files.keys)
        checkRoom(files)
        for ((name, entry) in files) {
            val file = File(folder, name)
            if (!isComplete(file, entry.bytes)) {
                bring(name, file, entry.bytes, entry.sha256) { part ->
                    check()
                    onBytes(done + part, total)
                }
            }
            done += entry.bytes
            onBytes(done, total)
        }
        return bundle
    }

    /** Another model, of an update, takes the place of the one before. */
    private fun prepare() {
        val known = File(folder, ModelBundle.MANIFEST)
        if (known.isFile && known.readBytes().contentEquals(manifest)) return
        folder.deleteRecursively()
        if (!folder.mkdirs()) throw Failure(Failure.Code.STORAGE, "The phone's storage cannot be written.")
        known.writeBytes(manifest)
    }

    /** A file has its own name only once it has been compared. */
    private fun isComplete(file: File, bytes: Long) = file.isFile && file.length() == bytes

    /** A phone's part may change with an update of the app that knows more chips. */
    private fun removeOthers(chosen: Set<String>) {
        val kept = chosen.map { File(folder, it) }.flatMap { listOf(it, partial(it)) }.toSet()
        val known = File(folder, ModelBundle.MANIFEST)
        folder.walkTopDown().filter { it.isFile && it != known && it !in kept }.toList().forEach { it.delete() }
    }

    private fun checkRoom(files: Map<String, Manifest.FileEntry>) {
        val missing =
            files.entries.sumOf { (name, entry) ->
                if (isComplete(File(folder, name), entry.bytes)) 0 else entry.bytes - partial(File(folder, name)).length()
            }
        if (missing > folder.usableSpace) {
            val needed = "${missing shr 20} MiB are needed, ${folder.usableSpace shr 20} MiB are free"
            throw Failure(Failure.Code.STORAGE, "$needed. Make room and try again.")
        }
    }

    private fun partial(file: File) = File(file.parentFile, "${file.name}.part")

    private fun bring(name: String, file: File, bytes: Long, sha256: String, onBytes: (Long) -> Unit) {
        file.parentFile?.mkdirs()
        val part = partial(file)
        if (part.length() > bytes) part.delete()
        try {
            if (part.length() < bytes || !part.exists()) copy(name, part, bytes, onBytes)
        } catch (error: IOException) {
            throw Failure(Failure.Code.NETWORK, "$name could not be fetched (${error.message}). Try again: it goes on.")
        }
        if (part.length() != bytes || digest(part) != sha256) {
            part.delete()
            throw Failure(Failure.Code.BUNDLE, "$name is not the file that was exported. Try again, or build the app again.")
        }
        if (!part.renameTo(file)) throw Failure(Failure.Code.STORAGE, "$name cannot be written to the phone's storage.")
    }

    private fun copy(name: String, part: File, bytes: Long, onBytes: (Long) -> Unit) {
        val source = supply.open(name, part.length())
        source.stream.use { stream ->
            FileOutputStream(part, source.start > 0).use { output ->
                val buffer = ByteArray(1 shl 18)
                var done = source.start
                while (done <= bytes) { // a server that never ends is not followed
                    val count = stream.read(buffer)
                    if (count < 0) break
                    output.write(buffer, 0, count)
                    done += count
                    onBytes(minOf(done, bytes))
                }
            }
        }
    }

    private fun digest(file: File): String {
        val digest = MessageDigest.getInstance("SHA-256")
        val buffer = ByteArray(1 shl 18)
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
