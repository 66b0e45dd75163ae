package phantom.edge.core

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** The square around a point, by the vectors that every language is held to. */
class CropTest {
    private val vectors = JsonReader.read(File(Vectors.folder(), "crops.json").readBytes())

    private fun cases(key: String): List<Any?> = vectors[key] as List<*>

    /** Numbers that JSON does not have are written as text. */
    private fun number(value: Any?): Double =
        when (value) {
            "nan" -> Double.NaN
            "inf" -> Double.POSITIVE_INFINITY
            else -> (value as Number).toDouble()
        }

    private fun crop(case: Any?): Crop {
        val (x, y) = (case["point"] as List<*>).map(::number)
        val (width, height) = case.ints("picture")
        return Crop.around(x, y, number(case["size"]), width, height)
    }

    @Test
    fun theSharedVectors() {
        for (case in cases("cases")) {
            val (left, top, side) = case.ints("crop")
            assertEquals(Crop(left, top, side), crop(case), "$case")
        }
        assertTrue(cases("cases").size > 400)
    }

    @Test
    fun whatIsOutsideIsRefusedInOneLine() {
        for (case in cases("refused")) {
            val line = assertFailsWith<InputException>("$case") { crop(case) }.message!!
            assertTrue(line.length <= 300 && "give " in line, line)
        }
        assertTrue(cases("refused").size > 10)
        assertFailsWith<InputException> { Crop.around(0.0, 0.0, width = 0, height = 1) }
        assertFailsWith<InputException> { Crop.around(0.0, 0.0, width = 1, height = -1) }
    }

    @Test
    fun itIsThesePixels() {
        val (width, height) = 7 to 5
        val pixels = ByteArray(width * height * 3) { (it / 3 + 100 * (it % 3)).toByte() }
        val image = RgbImage(width, height, pixels)
        val crop = image.croppedAround(1.0, 0.0, 0.4)
        assertEquals(image.cropped(5, 0, 2, 2), crop)
        assertEquals(listOf<Byte>(5, 6, 12, 13), crop.pixels.filterIndexed { place, _ -> place % 3 == 0 })
        assertEquals(image, image.cropped(0, 0, width, height))
        val outside =
            listOf(listOf(-1, 0, 1, 1), listOf(0, 0, 8, 1), listOf(6, 4, 1, 2), listOf(0, 0, 0, 1), listOf(1, 1, Int.MAX_VALUE, 1))
        for ((x, y, w, h) in outside) assertFailsWith<InputException> { image.cropped(x, y, w, h) }
    }
}
