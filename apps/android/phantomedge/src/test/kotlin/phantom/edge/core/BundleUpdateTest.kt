package phantom.edge.core

import java.io.ByteArrayInputStream
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.nio.file.Files
import java.security.MessageDigest
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

/** A folder that becomes a newer bundle: by digest, resumed, bounded, and whole after a crash at any point. */
class BundleUpdateTest {
    private val below = Files.createTempDirectory("update").toFile()
    private val folder = File(below, "bundle")
    private val opened = ArrayList<Pair<String, Long>>()

    // b changes its contents, c its name, d is new, e and f are new and alike, a stays, x goes.
    private val old = bundle("a" to text('a', 300_000), "sub/b" to text('b', 9), "sub/c" to text('c', 70_000), "x" to text('x', 5))
    private val new =
        bundle(
            "a" to text('a', 300_000), "sub/b" to text('B', 400_000), "c" to text('c', 70_000), "d" to ByteArray(0),
            "e" to text('e', 20), "f/e" to text('e', 20),
        )

    /** A bundle's manifest with its files, by name. */
    private class Made(val manifest: ByteArray, val files: Map<String, ByteArray>)

    private fun text(character: Char, count: Int) = ByteArray(count) { (character.code + it % 3).toByte() }

    private fun bundle(vararg files: Pair<String, ByteArray>, format: String = "executorch"): Made {
        val exported = JsonReader.read(File(Vectors.folder(), "bundle/manifest.json").readBytes()) as Map<*, *>
        val entries =
            files.associate { (name, bytes) ->
                name to mapOf("bytes" to bytes.size.toDouble(), "sha256" to digest(bytes))
            }
        return Made(json(exported + ("files" to entries) + ("format" to format)).toByteArray(), mapOf(*files))
    }

    private fun digest(bytes: ByteArray) =
        MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }

    private fun json(value: Any?): String =
        when (value) {
            is Map<*, *> -> value.entries.joinToString(",", "{", "}") { (key, item) -> "${json(key)}:${json(item)}" }
            is List<*> -> value.joinToString(",", "[", "]", transform = ::json)
            is String -> buildString {
                append('"')
                for (c in value) if (c == '"' || c == '\\' || c < ' ') append("\\u%04x".format(c.code)) else append(c)
                append('"')
            }
            is Double -> if (value == Math.rint(value)) value.toLong().toString() else value.toString()
            else -> value.toString()
        }

    private fun supply(made: Made) = FileSupply { name, from ->
        opened += name to from
        val bytes = made.files[name] ?: throw IOException("404")
        FileSupply.Part(ByteArrayInputStream(bytes, from.toInt(), bytes.size), from)
    }

    private fun install(made: Made) {
        BundleUpdate(folder, made.manifest, supply(made)).run()
        assertIs(made)
        opened.clear()
    }

    /** Whether the folder holds exactly these bytes, and nothing else lies around. */
    private fun assertIs(made: Made, isAlone: Boolean = true) {
        ModelBundle(folder)
        val contents = folder.walkTopDown().filter { it.isFile }.associate { it.relativeTo(folder).path to it.readBytes() }
        assertEquals(made.files.keys + ModelBundle.MANIFEST, contents.keys)
        for ((name, bytes) in made.files) assertTrue(bytes.contentEquals(contents[name]), name)
        assertTrue(made.manifest.contentEquals(contents[ModelBundle.MANIFEST]))
        if (isAlone) assertEquals(listOf("bundle"), below.list()!!.toList())
    }

    @AfterTest
    fun clean() {
        below.deleteRecursively()
    }

    @Test
    fun onlyWhatIsNewByDigestIsFetched() {
        install(old)
        val update = BundleUpdate(folder, new.manifest, supply(new))
        assertEquals(mapOf("sub/b" to 400_000L, "d" to 0L, "e" to 20L, "f/e" to 20L), update.missing)
        assertEquals(400_020, update.bytes)
        val heard = ArrayList<Pair<Long, Long>>()
        update.run { done, total -> heard += done to total }
        assertIs(new)
        assertEquals(listOf("d", "e", "sub/b"), opened.map { it.first }.sorted(), "two files alike come once")
        assertEquals(400_020L to 400_020L, heard.last())
        assertEquals(heard.sortedBy { it.first }, heard)
        opened.clear()
        assertEquals(0, BundleUpdate(folder, new.manifest, supply(new)).bytes)
        BundleUpdate(folder, new.manifest, supply(new)).run()
        assertEquals(emptyList(), opened)
    }

    @Test
    fun aFileThatIsDamagedHereIsFetchedAgain() {
        install(old)
        File(folder, "a").writeBytes(text('z', 300_000))
        BundleUpdate(folder, new.manifest, supply(new)).run()
        assertIs(new)
        assertTrue("a" in opened.map { it.first })
        File(folder, "a").writeBytes(text('z', 300_000))
        BundleUpdate(folder, new.manifest, supply(new)).run(verify = false)
        assertFailsWith<BundleException>("by size it is right") { ModelBundle(folder) }
        BundleUpdate(folder, new.manifest, supply(new)).run()
        assertIs(new)
    }

    @Test
    fun afterACrashAtAnyPointTheOldOrTheNewBundleIsWhole() {
        class Crash : RuntimeException()
        var crashes = 0
        for (after in 0..1_000) {
            below.listFiles()!!.forEach { it.deleteRecursively() }
            install(old)
            var left = after
            try {
                BundleUpdate(folder, new.manifest, supply(new)).run(check = { if (left-- == 0) throw Crash() })
                break
            } catch (crash: Crash) {
                crashes++
            }
            BundleUpdate.recover(folder)
            val isNew = File(folder, "c").exists()
            assertIs(if (isNew) new else old, isAlone = isNew)
            opened.clear()
            BundleUpdate(folder, new.manifest, supply(new)).run()
            assertIs(new)
        }
        assertIs(new)
        assertTrue(crashes > 12, "$crashes")
    }

    @Test
    fun whatWasCutShortGoesOnWhereItEndedAlsoForALaterBundle() {
        install(old)
        val broken = FileSupply { name, from ->
            val part = supply(new).open(name, from)
            if (name == "sub/b") FileSupply.Part(Breaking(part.stream, 150_000), from) else part
        }
        val error = assertFailsWith<TransferException> { BundleUpdate(folder, new.manifest, broken).run() }
        assertEquals("sub/b could not be fetched (the connection was lost): try again, it goes on", error.message)
        assertIs(old, isAlone = false)
        val later = bundle("renamed" to text('B', 400_000), "a" to text('A', 7))
        opened.clear()
        BundleUpdate(folder, later.manifest, supply(later)).run()
        assertIs(later)
        assertEquals(setOf("renamed" to 150_000L, "a" to 0L), opened.toSet())
    }

    @Test
    fun aServerThatKnowsNoRangesSendsTheWholeFileAgain() {
        install(old)
        val broken = FileSupply { name, from -> FileSupply.Part(Breaking(supply(new).open(name, from).stream, 10), from) }
        assertFailsWith<TransferException> { BundleUpdate(folder, new.manifest, broken).run() }
        BundleUpdate(folder, new.manifest, { name, _ -> supply(new).open(name, 0) }).run()
        assertIs(new)
    }

    @Test
    fun whatIsNotTheManifestsIsRefusedAndBounded() {
        install(old)
        val lying = FileSupply { name, _ -> FileSupply.Part(ByteArrayInputStream(text('?', new.files.getValue(name).size)), 0) }
        val error = assertFailsWith<BundleException> { BundleUpdate(folder, new.manifest, lying).run() }
        assertTrue("that came is not the file of the manifest" in error.message!!, error.message)
        var taken = 0L
        val endless =
            object : InputStream() {
                override fun read(): Int = 0

                override fun read(buffer: ByteArray, offset: Int, length: Int): Int = length.also { taken += it }
            }
        assertFailsWith<BundleException> { BundleUpdate(folder, new.manifest, { _, from -> FileSupply.Part(endless, from) }).run() }
        assertTrue(taken < 1 shl 20, "$taken")
        assertIs(old, isAlone = false)
        assertFailsWith<TransferException> { BundleUpdate(folder, new.manifest, supply(old)).run() }
        BundleUpdate(folder, new.manifest, supply(new)).run()
        assertIs(new)
    }

    @Test
    fun aManifestThatCannotBeIsRefusedBeforeAnyWork() {
        install(old)
        val exported = String(new.manifest)
        val wrong =
            listOf(
                "{}".toByteArray() to "not the manifest",
                ByteArray(17 shl 20) to "16 MiB",
                bundle("manifest.json" to text('m', 1)).manifest to "cannot be",
                bundle("a" to text('a', 1), "a/b" to text('b', 1)).manifest to "cannot be",
                bundle("../a" to text('a', 1)).manifest to "outside",
                exported.replace(digest(text('e', 20)), "../../x").toByteArray() to "no digest",
                exported.replace("\"bytes\":20", "\"bytes\":9007199254740992").toByteArray() to "no digest or size",
                bundle("a" to text('a', 1), format = "coreml").manifest to "format is coreml",
            )
        for ((manifest, words) in wrong) {
            val error = assertFailsWith<BundleException>(words) { BundleUpdate(folder, manifest, supply(new)) }
            assertTrue(words in error.message!! && error.message!!.length <= 300, error.message)
        }
        assertIs(old)
        val large = exported.replace("\"bytes\":400000", "\"bytes\":${1L shl 40}").toByteArray()
        assertFailsWith<StorageException> { BundleUpdate(folder, large, supply(new)).run() }
        assertEquals(emptyList(), opened)
        assertIs(old, isAlone = false)
    }

    @Test
    fun aPlaceThatCannotBeWrittenIsSaidInOneLine() {
        below.deleteRecursively()
        below.writeText("a file")
        val error = assertFailsWith<StorageException> { BundleUpdate(folder, new.manifest, supply(new)).run() }
        assertFalse('\n' in error.message!! || error.message!!.length > 300, error.message)
    }

    private class Breaking(private val stream: InputStream, private var left: Int) : InputStream() {
        override fun read(): Int = throw UnsupportedOperationException()

        override fun read(buffer: ByteArray, offset: Int, length: Int): Int {
            if (left == 0) throw IOException("the connection was lost")
            return stream.read(buffer, offset, minOf(length, left)).also { if (it > 0) left -= it }
        }
    }
}
