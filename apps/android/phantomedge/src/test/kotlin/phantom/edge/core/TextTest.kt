package phantom.edge.core

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** Ids, text and prompts equal to the Python package's. */
class TextTest {
    private fun tokenizers(): List<Triple<String, Any?, Tokenizer>> {
        val vectors = Vectors()
        return (vectors.json["tokenizers"] as Map<*, *>).map { (name, entry) ->
            Triple(name as String, entry, Tokenizer(File(vectors.folder, entry.text("file")).readBytes()))
        }
    }

    @Test
    fun idsAreThePythonPackagesOwn() {
        for ((name, expected, tokenizer) in tokenizers()) {
            for (entry in expected["texts"] as List<*>) {
                assertEquals(entry.ints("ids"), tokenizer.encode(entry.text("text")), "$name: ${entry["text"]}")
            }
        }
    }

    @Test
    fun streamsGiveTheSameText() {
        for ((name, expected, tokenizer) in tokenizers()) {
            for (entry in expected["streams"] as List<*>) {
                val stream = tokenizer.stream(entry["skip"] as Boolean)
                val streamed = entry.ints("ids").map { stream.push(it) } + stream.finish()
                val pieces = entry.texts("pieces")
                assertEquals(pieces.joinToString(""), streamed.joinToString(""), "$name: ${entry["ids"]}")
                if (entry["timed"] == true) assertEquals(pieces, streamed, "$name: ${entry["ids"]}")
            }
        }
    }

    @Test
    fun unknownTokenizersAreRefused() {
        val vectors = Vectors()
        for (file in vectors.json.texts("unknown_tokenizers")) {
            assertFailsWith<BundleException>(file) { Tokenizer(File(vectors.folder, file).readBytes()) }
        }
        assertFailsWith<BundleException> { Tokenizer(byteArrayOf(0x22, 0xFF.toByte(), 0x22)) }
    }

    @Test
    fun halfACharacterIsRefused() {
        assertFailsWith<InputException> { tokenizers().first().third.encode("a\uD800b") }
    }

    private fun template(entry: Any?) = PromptTemplate.of(Fields(mapOf("prompt" to entry["template"]), "vectors.json"))

    @Test
    fun promptsAreThePythonPackagesOwn() {
        for (entry in Vectors().cases("prompts")) {
            val template = template(entry)
            val question = entry.text("question")
            assertEquals(entry["text"], template.opening(entry["image_tokens"].int) + template.asking(question))
            assertEquals(entry["next"], template.next(question))
            assertEquals(entry.texts("markers"), template.markers)
        }
    }

    @Test
    fun controlTokensInAQuestionAreRefusedInTheSameWords() {
        val template = Vectors().cases("prompts").map(::template).first { it.name == "chatml" }
        for ((name, expected, tokenizer) in tokenizers()) {
            val control = (expected["control"] as List<*>).associate { it["id"].int!! to it.text("token") }
            assertEquals(control, tokenizer.controlTokens, name)
            val prompts = PromptEncoder(template, tokenizer)
            val refusals = expected["refusals"] as List<*>
            assertTrue(refusals.size >= control.size, name)
            for (refusal in refusals) {
                val question = refusal.text("question")
                for (attempt in listOf({ prompts.first(question, 2) }, { prompts.next(question) })) {
                    val error = assertFailsWith<InputException>("$name: $question") { attempt() }
                    assertEquals(refusal.text("line"), error.message, name)
                }
            }
        }
    }

    @Test
    fun markersInAQuestionAreRefused() {
        val template = template(Vectors().cases("prompts").first())
        for (marker in template.markers + "<image>") {
            for (question in listOf(marker, "a${marker}b", "$marker\u0301")) {
                assertFailsWith<InputException> { template.asking(question) }
                assertFailsWith<InputException> { template.next(question) }
            }
        }
    }
}
