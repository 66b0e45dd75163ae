package phantom.edge.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.StandardCopyOption
import java.nio.file.StandardOpenOption

/** Where a bundle's files come from: an app's assets, or a web server. */
fun interface FileSupply {
    /** The file's bytes from [from] on, or from its beginning: see [Part.start]. Throws [IOException]. */
    fun open(name: String, from: Long): Part

    class Part(val stream: InputStream, val start: Long)
}

/**
 * Brings a bundle into [folder], or makes the one that is there a newer one, by file and digest: what the folder has
 * already, under any name, is not fetched again.
 *
 * [manifest] is the text of the newer bundle's `manifest.json`, from where it can be trusted: it decides what is right.
 * Each file's size and SHA-256 are compared before the exchange, which is one step: at any time there is the old bundle
 * or the new one, and [recover] finds it after a crash. What was cut short goes on where it ended. [names] chooses files
 * of a bundle of which only a part is for this phone. One update of a folder at a time.
 *
 * Throws [BundleException] for a manifest that is none, or of a bundle of another format than the folder's.
 */
class BundleUpdate(
    private val folder: File,
    private val manifest: ByteArray,
    private val supply: FileSupply,
    names: (Manifest) -> Set<String> = { it.files.keys },
) {
    private val place = Place(folder)
    private val files: Map<String, Manifest.FileEntry>

    /** Files of the folder that the newer bundle has too, by digest. Compared again when they are taken. */
    private val known: Map<String, File>

    /** The files that are to be fetched, with their sizes. */
    val missing: Map<String, Long>
        get() = files.filterValues { it.sha256 !in known }.mapValues { it.value.bytes }

    /** What is to be fetched, in bytes; a digest that several files have is fetched once. */
    val bytes: Long
        get() = files.values.filter { it.sha256 !in known }.distinctBy { it.sha256 }.sumOf { it.bytes }

    init {
        if (manifest.size > ModelBundle.MANIFEST_LIMIT) refuse("is over ${ModelBundle.MANIFEST_LIMIT shr 20} MiB")
        val newer = Manifest.read(manifest)
        files = newer.files.filterKeys(names(newer)::contains).toSortedMap()
        for ((name, entry) in files) {
            if (name == ModelBundle.MANIFEST || files.keys.any { it.startsWith("$name/") }) refuse("has a file $name that cannot be")
            if (!DIGEST.matches(entry.sha256) || entry.bytes > LARGEST) refuse("has no digest or size of $name")
        }
        recover(folder)
        val installed = installed()
        if (installed != null && installed.manifest.format != newer.format) {
            throw BundleException(
                "the newer bundle's format is ${newer.format}, the installed one's ${installed.manifest.format}: export the same one",
            )
        }
        known =
            installed?.manifest?.files.orEmpty().entries
                .associate { (name, entry) -> entry.sha256 to File(folder, name) }
                .filterValues { ModelBundle.isRegular(it) }
    }

    /** The bundle that is there; null where there is none that can be read. */
    private fun installed(): ModelBundle? =
        try {
            ModelBundle(folder, verify = false)
        } catch (error: BundleException) {
            null
        }

    /**
     * Fetches what is missing and exchanges the bundles; gives the new one. With [verify] a bundle that is there already
     * is compared by its digests, else by its sizes: quick enough for every start.
     *
     * [onBytes] hears bytes done and bytes in all, [check] is called often and may throw to cancel. Throws
     * [TransferException] where a file cannot be fetched, [StorageException] where one cannot be written, and
     * [BundleException] for a file that is not the manifest's; the folder then is as it was.
     */
    fun run(verify: Boolean = true, check: Checkpoint = {}, onBytes: (Long, Long) -> Unit = { _, _ -> }): ModelBundle =
        storing {
            if (!isInstalled(verify)) {
                if (!place.isComplete(manifest)) fill(check, onBytes)
                place.exchange(check)
            }
            ModelBundle(folder, verify = false)
        }

    private fun isInstalled(verify: Boolean): Boolean {
        val own = File(folder, ModelBundle.MANIFEST)
        if (!ModelBundle.isRegular(own) || !own.readBytes().contentEquals(manifest)) return false
        val contents = folder.walkTopDown().filter { !it.isDirectory }.map { it.relativeTo(folder).invariantSeparatorsPath }
        val isWhole = contents.toSet() == files.keys + ModelBundle.MANIFEST
        return isWhole && files.all { (name, entry) -> isRight(File(folder, name), entry, verify) }
    }

    private fun fill(check: Checkpoint, onBytes: (Long, Long) -> Unit) {
        place.prepare(files.keys)
        val absent = files.filter { (name, entry) ->
            check()
            !isRight(place.staged(name), entry) && !isTaken(name, entry)
        }
        val groups = absent.entries.groupBy({ it.value.sha256 }, { it.key })
        val total = groups.values.sumOf { files.getValue(it[0]).bytes }
        checkRoom(total - groups.keys.sumOf { place.part(it).length() })
        var done = 0L
        for ((digest, names) in groups) {
            val entry = files.getValue(names[0])
            fetch(names[0], entry, place.part(digest)) { part ->
                check()
                onBytes(done + part, total)
            }
            for (name in names.dropLast(1)) copy(place.part(digest), place.staged(name))
            move(place.part(digest), place.staged(names.last()))
            done += entry.bytes
            onBytes(done, total)
        }
        check()
        place.complete(manifest)
    }

    /** Whether the folder had the file, and still has it as it should be: then it is part of the new bundle too. */
    private fun isTaken(name: String, entry: Manifest.FileEntry): Boolean {
        val target = place.staged(name)
        target.deleteRecursively()
        target.parentFile.mkdirs()
        val source = known[entry.sha256] ?: return false
        if (!ModelBundle.isRegular(source) || source.length() != entry.bytes) return false
        copy(source, target)
        return isRight(target, entry).also { if (!it) target.delete() }
    }

    private fun isRight(file: File, entry: Manifest.FileEntry, byDigest: Boolean = true): Boolean =
        ModelBundle.isRegular(file) && file.length() == entry.bytes &&
            (!byDigest || ModelBundle.sha256(file) == entry.sha256)

    private fun checkRoom(needed: Long) {
        val free = place.staging.usableSpace
        if (needed > free) throw StorageException("${needed shr 20} MiB are needed, ${free shr 20} MiB are free: make room")
    }

    private fun fetch(name: String, entry: Manifest.FileEntry, part: File, onBytes: (Long) -> Unit) {
        if (part.length() > entry.bytes) part.delete()
        if (part.length() < entry.bytes || !part.exists()) append(name, entry.bytes, part, onBytes)
        if (isRight(part, entry)) return
        part.delete()
        throw BundleException("${name.take(SHOWN)} that came is not the file of the manifest: try again")
    }

    private fun append(name: String, bytes: Long, part: File, onBytes: (Long) -> Unit) {
        val source = fetching(name) { supply.open(name, part.length()) }
        source.stream.use { stream ->
            FileOutputStream(part, source.start > 0).use { output ->
                val buffer = ByteArray(1 shl 18)
                var done = source.start
                while (done <= bytes) { // a server that never ends is not followed
                    val count = fetching(name) { stream.read(buffer) }
                    if (count < 0) break
                    output.write(buffer, 0, count)
                    done += count
                    onBytes(minOf(done, bytes))
                }
                output.fd.sync()
            }
        }
    }

    private inline fun <T> fetching(name: String, work: () -> T): T =
        try {
            work()
        } catch (error: IOException) {
            val reason = error.message.orEmpty().lineSequence().first().take(SHOWN)
            throw TransferException("${name.take(SHOWN)} could not be fetched ($reason): try again, it goes on", error)
        }

    companion object {
        private val DIGEST = Regex("[0-9a-f]{64}")
        private const val LARGEST = 1L shl 40
        private const val SHOWN = 80

        /**
         * Ends an exchange that a crash cut short: afterwards the folder has the old bundle or the new one. Call it before
         * a bundle that is updated is opened; where nothing was cut short it costs nothing.
         */
        fun recover(folder: File) = storing { Place(folder).recover() }

        private fun refuse(what: String): Nothing = throw BundleException("the newer ${ModelBundle.MANIFEST} $what: do not use it")
    }
}

/**
 * The folders of an update: `NAME.update` beside the bundle, with what was fetched so far by digest and the new bundle as
 * far as it is, and `NAME.previous`, the old one within the exchange.
 */
private class Place(private val folder: File) {
    val staging = File(folder.absoluteFile.parentFile, "${folder.name}.update")
    private val bundle = File(staging, "bundle")
    private val parts = File(staging, "parts")
    private val previous = File(folder.absoluteFile.parentFile, "${folder.name}.previous")

    fun staged(name: String) = File(bundle, name)

    fun part(digest: String) = File(parts, digest)

    /** Whether the new bundle is all there. Its manifest comes last. */
    fun isComplete(manifest: ByteArray): Boolean =
        staged(ModelBundle.MANIFEST).let { it.isFile && it.readBytes().contentEquals(manifest) }

    /** Makes the folders, and removes what an earlier update had and this one does not. */
    fun prepare(names: Set<String>) {
        staged(ModelBundle.MANIFEST).delete()
        for (made in listOf(bundle, parts)) if (!made.isDirectory && !made.mkdirs()) throw IOException("$made cannot be made")
        val others = bundle.walkTopDown().filter { !it.isDirectory && it.relativeTo(bundle).invariantSeparatorsPath !in names }
        others.toList().forEach { it.delete() }
    }

    fun complete(manifest: ByteArray) {
        val written = part(ModelBundle.MANIFEST)
        FileOutputStream(written).use { output ->
            output.write(manifest)
            output.fd.sync()
        }
        move(written, staged(ModelBundle.MANIFEST))
        bundle.walkTopDown().filter { it.isDirectory }.forEach(::syncFolder)
    }

    /** Between any two of these steps [recover] finds a whole bundle. */
    fun exchange(check: Checkpoint) {
        previous.deleteRecursively()
        check()
        if (folder.exists()) move(folder, previous)
        check()
        move(bundle, folder)
        folder.absoluteFile.parentFile?.let(::syncFolder)
        check()
        recover()
    }

    fun recover() {
        if (!folder.exists()) {
            if (staged(ModelBundle.MANIFEST).isFile) move(bundle, folder) else if (previous.exists()) move(previous, folder)
        }
        if (folder.exists()) previous.deleteRecursively()
        if (staging.exists() && !bundle.exists()) staging.deleteRecursively()
    }

    /** What a folder lists is on the disk. Where a system does not do it, it does so in its own time. */
    private fun syncFolder(folder: File) {
        try {
            FileChannel.open(folder.toPath(), StandardOpenOption.READ).use { it.force(true) }
        } catch (error: IOException) {
            return
        }
    }
}

private fun move(from: File, to: File) {
    Files.move(from.toPath(), to.toPath(), StandardCopyOption.ATOMIC_MOVE)
}

/** As a second name of the same file where the system has such (Android has not for apps), else as a copy. */
private fun copy(from: File, to: File) {
    try {
        Files.createLink(to.toPath(), from.toPath())
    } catch (error: IOException) {
        copyBytes(from, to)
    } catch (error: UnsupportedOperationException) {
        copyBytes(from, to)
    }
}

private fun copyBytes(from: File, to: File) {
    FileOutputStream(to).use { output ->
        from.inputStream().use { it.copyTo(output, 1 shl 18) }
        output.fd.sync()
    }
}

private inline fun <T> storing(work: () -> T): T =
    try {
        work()
    } catch (error: IOException) {
        val reason = error.message.orEmpty().lineSequence().first().take(160)
        throw StorageException("the bundle cannot be written ($reason): make room, and give a folder of the app's own", error)
    }
