package phantom.edge.core

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

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

    @Test
    fun logitsThatAreNotFiniteEndTheAnswerWithAReason() {
        val bundle = ModelBundle(File(Vectors.folder(), "chats/0"), verify = false)
        for (value in listOf(Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY)) {
            val backend = CountingBackend(bundle.manifest, value)
            val chat = PhantomSession(bundle, backend, pacing = Pacing.UNPACED).chat(null)
            val error = assertFailsWith<BackendException> { chat.ask("Why?", AnswerOptions(maxTokens = 3)).count() }
            assertTrue("not finite" in error.message!!)
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
class CountingBackend(private val manifest: Manifest, private val spoiled: Float? = null) : Backend {
    private class Cache : DecoderCache

    override val name = "counting"

    override fun encode(tile: FloatArray) = FloatArray(manifest.tileTokens * manifest.hidden)

    override fun embed(ids: IntArray) = FloatArray(ids.size * manifest.hidden)

    override fun makeCache(): DecoderCache = Cache()

    override fun decode(embeddings: FloatArray, position: Int, cache: DecoderCache): FloatArray {
        val length = position + embeddings.size / manifest.hidden
        return FloatArray(manifest.vocabulary).also { logits ->
            logits[7 * length % 250] = 1f
            spoiled?.let { logits[3] = it }
        }
    }

    override fun trim() = Unit

    override fun close() = Unit
}
