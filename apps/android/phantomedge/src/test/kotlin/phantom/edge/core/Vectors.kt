package phantom.edge.core

import java.io.File
import org.junit.Assume.assumeTrue

/**
 * What the Python package makes of the same inputs: the folder that its tests write (`tests/apps/native_vectors.py`)
 * and name in `PHANTOM_EDGE_VECTORS`. Without it the tests that compare are skipped.
 */
class Vectors(name: String = "vectors") {
    val folder = folder()
    val json = JsonReader.read(File(folder, "$name.json").readBytes())
    val tensors = Safetensors.open(File(folder, "$name.safetensors"))

    fun cases(key: String): List<Any?> = json[key] as List<*>

    fun image(name: String): RgbImage = tensors.shape(name).let { RgbImage(it[1], it[0], tensors.bytes(name)) }

    companion object {
        fun folder(): File {
            val path = System.getenv("PHANTOM_EDGE_VECTORS")
            assumeTrue("PHANTOM_EDGE_VECTORS names no folder: run the Python tests", path != null)
            return File(path)
        }
    }
}

fun Any?.ints(key: String): List<Int> = (this[key] as List<*>).map { it.int!! }

fun Any?.text(key: String): String = this[key] as String

fun Any?.texts(key: String): List<String> = (this[key] as List<*>).map { it as String }
