package phantom.edge.core

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals

/** Every id of conversations with every kind of tokenizer, beside those of the Python package's session. */
class ChatIdsTest {
    @Test
    fun idsAreThePythonPackagesOwnWithEveryTokenizer() {
        val folder = Vectors.folder()
        val chats = JsonReader.read(File(folder, "chats.json").readBytes()) as List<*>
        chats.forEachIndexed { number, entry ->
            val bundle = ModelBundle(File(folder, "chats/$number"), verify = false)
            val session = PhantomSession(bundle, CountingBackend(bundle.manifest), pacing = Pacing.UNPACED)
            for (talk in entry["talks"] as List<*>) check(session, talk, entry.text("name"))
        }
    }

    private fun check(session: PhantomSession, talk: Any?, name: String) {
        val size = (talk["size"] as? List<*>)?.map { it.int!! }
        val chat = session.chat(size?.let { (width, height) -> RgbImage(width, height, ByteArray(3 * width * height)) })
        val turns = talk.texts("turns")
        val options = AnswerOptions(maxTokens = 3)
        turns.zip(talk["ids"] as List<*>).forEach { (question, expected) ->
            chat.ask(question, options).count()
            assertEquals((expected as List<*>).map { it.int }, chat.ids, "$name, $size: $question")
        }
        chat.rewind()
        chat.ask(turns[1], options).count()
        assertEquals(talk.ints("rewound"), chat.ids, "$name, $size, rewound")
    }
}

/** Computes nothing: the likeliest next id follows from the length of the cache (`tests/support`). */
class CountingBackend(private val manifest: Manifest) : Backend {
    private class Cache : DecoderCache

    override val name = "counting"

    override fun encode(tile: FloatArray) = FloatArray(manifest.tileTokens * manifest.hidden)

    override fun embed(ids: IntArray) = FloatArray(ids.size * manifest.hidden)

    override fun makeCache(): DecoderCache = Cache()

    override fun decode(embeddings: FloatArray, position: Int, cache: DecoderCache): FloatArray {
        val length = position + embeddings.size / manifest.hidden
        return FloatArray(manifest.vocabulary).also { it[7 * length % 250] = 1f }
    }

    override fun trim() = Unit

    override fun close() = Unit
}
