package phantom.edge.ar.core

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull
import kotlin.test.assertTrue
import phantom.edge.core.RgbImage

class FramingTest {
    @Test
    fun theSquareIsTheLargestThatIsSeen() {
        // A 4:3 picture covers a tall stage: 960 of 1440 columns are seen.
        val framing = Framing(Size(400.0, 450.0), Size(1440.0, 1080.0), Framing.Fit.COVER)
        assertEquals(Square(240, 60, 960), framing.square(Point(720.0, 540.0)))
        assertEquals(Square(240, 0, 960), framing.square(Point(0.0, 0.0)))
        assertEquals(Square(240, 120, 960), framing.square(Point(9999.0, 9999.0)))
        val whole = Framing(Size(100.0, 400.0), Size(301.0, 77.0), Framing.Fit.CONTAIN)
        assertEquals(Square(112, 0, 76), whole.square(Point(150.0, 40.0)))
    }

    @Test
    fun stageAndPictureAreInverses() {
        for (fit in Framing.Fit.entries) {
            val framing = Framing(Size(390.0, 844.0), Size(1440.0, 1920.0), fit)
            for (point in listOf(Point(700.0, 900.0), Point(500.0, 1000.0))) {
                val there = framing.toPicture(framing.toStage(point))
                assertEquals(point.x, there.x, 1e-9)
                assertEquals(point.y, there.y, 1e-9)
            }
        }
    }

    /** What the transforms of ARCore tell of a picture turned by the library. */
    @Test
    fun theOrientationIsReadFromWhereRightIs() {
        val sensor = RgbImage(3, 2, ByteArray(18) { it.toByte() })
        for (orientation in listOf(1, 3, 6, 8)) {
            val upright = sensor.upright(orientation)
            val (from, to) = place(sensor, upright, 0, 0) to place(sensor, upright, 1, 0)
            assertEquals(orientation, orientationOf(Point(to.x - from.x, to.y - from.y)))
        }
    }

    private fun place(sensor: RgbImage, upright: RgbImage, x: Int, y: Int): Point {
        val value = upright.pixels[(y * upright.width + x) * 3]
        val at = sensor.pixels.indices.step(3).first { sensor.pixels[it] == value } / 3
        return Point((at % sensor.width).toDouble(), (at / sensor.width).toDouble())
    }

    /** A camera at the origin that looks along -z, with a field of view of 90 degrees. */
    @Test
    fun theRoomAndTheScreenFitTogether() {
        val (near, far) = 0.1f to 100f
        val (a, b) = -(far + near) / (far - near) to -2 * far * near / (far - near)
        val matrix = floatArrayOf(1f, 0f, 0f, 0f, 0f, 1f, 0f, 0f, 0f, 0f, a, -1f, 0f, 0f, b, 0f)
        val inverse = floatArrayOf(1f, 0f, 0f, 0f, 0f, 1f, 0f, 0f, 0f, 0f, 0f, 1 / b, 0f, 0f, -1f, a / b)
        val projection = Projection(matrix, inverse, Size(200.0, 100.0))
        val centre = projection.toStage(Place(0.0, 0.0, -2.0))!!
        assertEquals(100.0, centre.x, 1e-6)
        assertEquals(50.0, centre.y, 1e-6)
        val corner = projection.toStage(Place(1.0, 1.0, -2.0))!!
        assertEquals(150.0, corner.x, 1e-6)
        assertEquals(25.0, corner.y, 1e-6)
        assertNull(projection.toStage(Place(0.0, 0.0, 2.0)), "behind the camera")
        assertNull(projection.toStage(Place(3.0, 0.0, -2.0)), "beside the picture")
        val there = projection.along(Point(150.0, 25.0), 0.8)
        val again = projection.toStage(there)!!
        assertEquals(150.0, again.x, 1e-3)
        assertEquals(25.0, again.y, 1e-3)
        assertTrue(there.z < 0 && there.length in 0.8..1.0)
    }
}
