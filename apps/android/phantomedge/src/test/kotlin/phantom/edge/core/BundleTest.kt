package phantom.edge.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.BeforeTest
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** Damaged bundles and tensors. */
class BundleTest {
    private lateinit var folder: File

    @BeforeTest
    fun makeFolder() {
        folder = Files.createTempDirectory("bundle").toFile()
    }

    @AfterTest
    fun removeFolder() {
        folder.deleteRecursively()
    }

    @Test
    fun anExportedBundleIsReadAndEveryDamageIsFound() {
        val exported = File(Vectors.folder(), "bundle")
        exported.copyRecursively(folder, overwrite = true)
        val bundle = ModelBundle(folder)
        assertTrue(bundle.file(Graph.TEXT_DECODER).exists())
        assertTrue(bundle.graphBytes > 1_000_000)

        val extra = File(folder, "extra.bin").apply { writeBytes(byteArrayOf(1)) }
        assertRefused("extra.bin is not listed")
        extra.delete()

        val golden = File(folder, ModelBundle.GOLDEN)
        golden.writeBytes(golden.readBytes().also { it[it.size - 1] = (it[it.size - 1] + 1).toByte() })
        assertRefused("golden.safetensors is not the file")
        ModelBundle(folder, verify = false)
        golden.delete()
        assertRefused("golden.safetensors is missing")
        Files.createSymbolicLink(golden.toPath(), File(exported, ModelBundle.GOLDEN).toPath())
        assertRefused("golden.safetensors is missing")
    }

    @Test
    fun aManifestThatIsNoneIsRefused() {
        assertRefused("has no manifest.json")
        val json = File(Vectors.folder(), "bundle/manifest.json").readBytes()
        val whole = JsonReader.read(json) as Map<*, *>
        val damages =
            listOf(
                Triple("schema", null, "not the manifest of a phantom-edge bundle"),
                Triple("schema", 1.0, "schema 1 is of an earlier phantom-edge, this app reads 2: export it again"),
                Triple("schema", 3.0, "schema 3 is newer than this app reads (2): update the app"),
                Triple("context", null, "manifest.json lacks context"),
                Triple("context", 0.0, "manifest.json: context is not a size"),
                Triple("chunk", 1.5, "manifest.json: chunk is not a size"),
                Triple("target", 7.0, "manifest.json: target is not a text"),
                Triple("knows", 7.0, "manifest.json: knows is not a sentence"),
                Triple("knows", "", "manifest.json: knows is not a sentence"),
                Triple("knows", "one\ntwo", "manifest.json: knows is not a sentence"),
                Triple("knows", "x".repeat(201), "manifest.json: knows is not a sentence"),
                Triple("tiles", mapOf("size" to 1.0), "manifest.json lacks tiles.tokens"),
                Triple("ids", mapOf("first" to 0.0, "image" to 1e9, "end" to emptyList<Double>()), "contradicts"),
                Triple("ids", mapOf("first" to 0.0, "image" to 1.0, "end" to emptyList<Double>()), "contradicts"),
                Triple("ids", mapOf("first" to 0.0, "image" to 1.0, "end" to "2"), "ids.end is not a list"),
                Triple("files", mapOf("x" to mapOf("bytes" to 1.0)), "manifest.json lacks files.x.sha256"),
                Triple("files", mapOf("../x" to mapOf("bytes" to 1.0, "sha256" to "")), "lies outside"),
                Triple("files", mapOf("/etc/passwd" to mapOf("bytes" to 1.0, "sha256" to "")), "lies outside"),
            )
        for ((key, value, message) in damages) {
            val error = assertFailsWith<BundleException> { Manifest(whole + (key to value)) }
            assertTrue(message in error.message!!, error.message)
        }
        assertEquals(null, Manifest(whole).knows)
        assertEquals("Shapes \uD83D\uDD34.", Manifest(whole + ("knows" to "Shapes \uD83D\uDD34.")).knows)
        assertEquals(Manifest(whole).files.keys, Manifest.read(json).files.keys)
        assertFailsWith<BundleException> { Manifest.read("[".toByteArray()) }
        File(folder, "manifest.json").writeText("[")
        assertRefused("JSON")
    }

    @Test
    fun damagedTensorsAreRefused() {
        val good = """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"""
        assertContentEquals(floatArrayOf(0f, 0f), tensors(good, 8).floats("a"))
        assertFailsWith<BundleException> { tensors(good, 8).longs("a") }
        assertFailsWith<BundleException> { tensors(good, 8).floats("b") }
        assertFailsWith<BundleException> { tensors(good, 7) }
        assertFailsWith<BundleException> { Safetensors(ByteBuffer.wrap(byteArrayOf(1, 2, 3)), "x") }
        assertFailsWith<BundleException> { Safetensors(ByteBuffer.wrap(ByteArray(64) { -1 }), "x") }
        val lies = """{"a":{"dtype":"F32","shape":[4611686018427387904,2],"data_offsets":[0,8]}}"""
        assertFailsWith<BundleException> { tensors(lies, 8).floats("a") }
        assertFailsWith<BundleException> { tensors("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8) }
    }

    private fun tensors(header: String, bytes: Int): Safetensors {
        val data = ByteBuffer.allocate(8 + header.length + bytes).order(ByteOrder.LITTLE_ENDIAN)
        data.putLong(header.length.toLong()).put(header.toByteArray())
        return Safetensors(data, "x")
    }

    private fun assertRefused(message: String) {
        val error = assertFailsWith<BundleException> { ModelBundle(folder) }
        assertTrue(message in error.message!!, error.message)
    }
}
