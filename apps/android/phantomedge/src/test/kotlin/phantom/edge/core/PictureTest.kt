package phantom.edge.core

import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith

/** Pixels equal to Pillow's, byte for byte. */
class PictureTest {
    @Test
    fun tilesAreThePythonPackagesOwn() {
        val vectors = Vectors()
        vectors.cases("images").forEachIndexed { number, expected ->
            val image = vectors.image("image.$number")
            val policy = TilePolicy(expected["tile"].int!!, expected["max"].int!!)
            assertEquals(expected["columns"].int!! to expected["rows"].int!!, policy.grid(image.width, image.height))
            val tiles = policy.split(image)
            assertEquals(policy.count(image.width, image.height), tiles.size)
            val pixels = tiles.map { it.pixels }.reduce { all, tile -> all + tile }
            assertContentEquals(vectors.tensors.bytes("tiles.$number"), pixels, "image $number")
            assertContentEquals(vectors.tensors.floats("pixels.$number"), TilePolicy.planar(tiles[0]))
        }
    }

    @Test
    fun gridsOfManySizes() {
        for (row in Vectors().cases("grids")) {
            val n = (row as List<*>).map { it.int!! }
            assertEquals(n[4] to n[5], TilePolicy(n[2], n[3]).grid(n[0], n[1]), "$n")
        }
    }

    @Test
    fun orientationsAreThoseOfTheExifStandard() {
        val vectors = Vectors()
        val image = vectors.image("upright.1")
        for (orientation in 1..8) assertEquals(vectors.image("upright.$orientation"), image.upright(orientation))
        assertEquals(image, image.upright(9))
    }

    @Test
    fun transparencyBecomesWhite() {
        val vectors = Vectors()
        val bytes = vectors.tensors.bytes("rgba").map { it.toInt() and 0xFF }
        val argb = bytes.chunked(4).map { (r, g, b, a) -> a shl 24 or (r shl 16) or (g shl 8) or b }.toIntArray()
        assertEquals(vectors.image("flattened"), RgbImage.ofArgb(256, 16, argb))
    }

    @Test
    fun impossiblePicturesAreRefused() {
        val sizes = listOf(Triple(0, 1, 0), Triple(2, 2, 11), Triple(-1, -1, 3), Triple(8193, 8192, 3))
        for ((width, height, count) in sizes) {
            assertFailsWith<InputException> { RgbImage(width, height, ByteArray(count)) }
        }
        assertFailsWith<InputException> { RgbImage.ofArgb(1 shl 30, 1 shl 30, IntArray(0)) }
    }
}
