package phantom.edge.ar.core

import java.io.ByteArrayInputStream
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.net.ServerSocket
import java.nio.file.Files
import kotlin.concurrent.thread
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import org.junit.Assume.assumeTrue
import phantom.edge.core.BundleException
import phantom.edge.core.FileSupply
import phantom.edge.core.ModelBundle

/** Installing an exported bundle (`PHANTOM_EDGE_BUNDLE`), from a supply that breaks, lies and hangs up. */
class BundleInstallTest {
    private val exported = System.getenv("PHANTOM_EDGE_BUNDLE").orEmpty().let { path ->
        assumeTrue("PHANTOM_EDGE_BUNDLE names no bundle: run the Python tests", path.isNotEmpty())
        File(path)
    }
    private val manifest = File(exported, ModelBundle.MANIFEST).readBytes()
    private val folder = Files.createTempDirectory("install").resolve("bundle").toFile()
    private val opened = ArrayList<Pair<String, Long>>()

    @AfterTest
    fun clean() {
        folder.parentFile.deleteRecursively()
    }

    private fun exact(name: String, from: Long): FileSupply.Part {
        opened += name to from
        val stream = File(exported, name).inputStream()
        stream.skip(from)
        return FileSupply.Part(stream, from)
    }

    @Test
    fun everyFileIsBroughtOnceAndVerified() {
        val heard = ArrayList<Long>()
        val bundle = BundleInstall(folder, manifest, ::exact).run { done, _ -> heard += done }
        bundle.checkFiles()
        assertEquals(bundle.manifest.files.keys, opened.map { it.first }.toSet())
        assertEquals(bundle.manifest.files.values.sumOf { it.bytes }, heard.last())
        assertEquals(heard.sorted(), heard)
        opened.clear()
        BundleInstall(folder, manifest, ::exact).run()
        assertTrue(opened.isEmpty(), "what is there is not brought again")
    }

    @Test
    fun whatWasCutShortGoesOnWhereItEnded() {
        val largest = ModelBundle(exported).manifest.files.maxBy { it.value.bytes }
        val cut = largest.value.bytes / 2
        val broken = FileSupply { name, from ->
            val part = exact(name, from)
            if (name == largest.key) FileSupply.Part(Breaking(part.stream, cut), from) else part
        }
        val error = assertFailsWith<Failure> { BundleInstall(folder, manifest, broken).run() }
        assertEquals(Failure.Code.NETWORK, error.code)
        assertFalse(File(folder, largest.key).exists(), "half a file has no name")
        opened.clear()
        BundleInstall(folder, manifest, ::exact).run().checkFiles()
        assertEquals(cut, opened.first { it.first == largest.key }.second)
    }

    @Test
    fun aFileThatIsAnotherIsRefusedAndForgotten() {
        val lying = FileSupply { name, from ->
            val whole = File(exported, name).readBytes()
            whole[whole.size - 1] = (whole.last() + 1).toByte()
            FileSupply.Part(ByteArrayInputStream(whole, from.toInt(), whole.size), from)
        }
        val error = assertFailsWith<Failure> { BundleInstall(folder, manifest, lying).run() }
        assertEquals(Failure.Code.BUNDLE, error.code)
        val endless = FileSupply { _, from -> FileSupply.Part(Endless, from) }
        assertEquals(
            Failure.Code.BUNDLE,
            assertFailsWith<Failure> { BundleInstall(folder, manifest, endless).run() }.code,
        )
        BundleInstall(folder, manifest, ::exact).run().checkFiles()
    }

    @Test
    fun aPartOfABundleIsBroughtAloneAndGrowsWithoutWhatItNoLongerNeeds() {
        val names = setOf(ModelBundle.TOKENIZER, ModelBundle.GOLDEN)
        BundleInstall(folder, manifest, ::exact) { names }.run().checkFiles(names)
        assertEquals(names, opened.map { it.first }.toSet())
        opened.clear()
        val graph = ModelBundle(exported).manifest.graphs.values.first()
        BundleInstall(folder, manifest, ::exact) { setOf(graph, ModelBundle.TOKENIZER) }.run()
        assertEquals(listOf(graph), opened.map { it.first })
        assertFalse(File(folder, ModelBundle.GOLDEN).exists())
        BundleInstall(folder, manifest, ::exact).run().checkFiles()
    }

    @Test
    fun anotherModelTakesThePlaceOfTheOneBefore() {
        BundleInstall(folder, manifest, ::exact).run()
        val changed = String(manifest).replaceFirst("{", "{ ").toByteArray()
        opened.clear()
        BundleInstall(folder, changed, ::exact).run().checkFiles()
        assertTrue(opened.isEmpty(), "its files are the same")
        assertTrue(File(folder, ModelBundle.MANIFEST).readBytes().contentEquals(changed))
        val other = String(manifest).replaceFirst(Regex("\"format\":\\s*\"\\w+\""), "\"format\": \"other\"").toByteArray()
        BundleInstall(folder, other, ::exact).run()
        assertTrue(opened.isNotEmpty(), "nothing of another format is taken")
        assertFailsWith<BundleException> { BundleInstall(folder, "{}".toByteArray(), ::exact).run() }
    }

    @Test
    fun aWebServerIsAskedForTheRest() {
        val name = ModelBundle.TOKENIZER
        val whole = File(exported, name).readBytes()
        ServerSocket(0).use { server ->
            val requests = ArrayList<String>()
            thread(isDaemon = true) {
                repeat(3) {
                    server.accept().use { client ->
                        val lines = client.getInputStream().bufferedReader()
                        val request = generateSequence { lines.readLine() }.takeWhile { it.isNotEmpty() }.toList()
                        requests += request.joinToString("\n")
                        val from = Regex("bytes=(\\d+)-").find(requests.last())?.groupValues?.get(1)?.toInt()
                        val missing = "missing" in request.first()
                        val head = if (missing) "404 Not Found" else if (from == null) "200 OK" else "206 Partial Content"
                        val body = if (missing) ByteArray(0) else whole.copyOfRange(from ?: 0, whole.size)
                        val text = "HTTP/1.1 $head\r\nContent-Length: ${body.size}\r\nConnection: close\r\n\r\n"
                        client.getOutputStream().apply { write(text.toByteArray()); write(body); flush() }
                    }
                }
            }
            val supply = HttpSupply("http://127.0.0.1:${server.localPort}/a%20model")
            assertEquals(whole.size, supply.open(name, 0).stream.readBytes().size)
            val rest = supply.open(name, 100)
            assertEquals(100, rest.start)
            assertTrue(whole.copyOfRange(100, whole.size).contentEquals(rest.stream.readBytes()))
            assertTrue("GET /a%20model/$name" in requests.first(), requests.first())
            assertFailsWith<IOException> { supply.open("missing", 0) }
        }
        assertFailsWith<Failure> { HttpSupply("http://example.org/model") }
        assertFailsWith<Failure> { HttpSupply("file:///etc") }
        assertFailsWith<Failure> { HttpSupply("https://a b") }
    }

    private class Breaking(private val stream: InputStream, private var left: Long) : InputStream() {
        override fun read(): Int = throw UnsupportedOperationException()

        override fun read(buffer: ByteArray, offset: Int, length: Int): Int {
            if (left == 0L) throw IOException("the connection was lost")
            val count = stream.read(buffer, offset, minOf(length.toLong(), left).toInt())
            return count.also { left -= it }
        }
    }

    private object Endless : InputStream() {
        override fun read(): Int = 0

        override fun read(buffer: ByteArray, offset: Int, length: Int): Int = length
    }
}
