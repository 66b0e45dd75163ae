package phantom.edge.ar.core

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull
import kotlin.test.assertTrue
import phantom.edge.core.Crop
import phantom.edge.core.RgbImage

class FramingTest {
    @Test
    fun theSquareLiesAroundThePinInWhatIsSeen() {
        // A 4:3 picture covers a tall stage: 960 of 1440 columns are seen.
        val framing = Framing(Size(400.0, 450.0), Size(1440.0, 1080.0), Framing.Fit.COVER)
        fun part(x: Double, y: Double, reach: Reach = Reach.of()) = framing.part(Point(x, y), reach)
        assertEquals(PixelRect(528, 348, 384, 384), part(720.0, 540.0), "0.4 of 960")
        assertEquals(PixelRect(240, 0, 384, 384), part(0.0, 0.0))
        assertEquals(PixelRect(816, 696, 384, 384), part(9999.0, 9999.0))
        assertEquals(PixelRect(672, 492, 96, 96), part(720.0, 540.0, Reach.of(0.0)))
        assertEquals(PixelRect(240, 60, 960, 960), part(720.0, 540.0, Reach.of(1.0)))
        val whole = part(720.0, 540.0, Reach.of(isWhole = true))
        assertEquals(PixelRect(240, 60, 960, 960), whole)
        assertEquals(PixelRect(240, 120, 960, 960), part(0.0, 9999.0, Reach.of(isWhole = true)))
        assertEquals(Size(400.0, 400.0), framing.sizeOnStage(whole))
        val small = Framing(Size(100.0, 400.0), Size(301.0, 77.0), Framing.Fit.CONTAIN)
        assertEquals(PixelRect(112, 0, 77, 77), small.part(Point(150.0, 40.0), Reach.of(1.0)))
        val pixel = Framing(Size(9.0, 9.0), Size(1.0, 1.0), Framing.Fit.CONTAIN)
        assertEquals(PixelRect(0, 0, 1, 1), pixel.part(Point(0.0, 1.0), Reach.of()))
    }

    @Test
    fun whatIsSeenIsThatOfTheRule() {
        val framing = Framing(Size(320.0, 240.0), Size(640.0, 480.0), Framing.Fit.CONTAIN)
        for ((x, y, size) in listOf(Triple(0.5, 0.5, 0.4), Triple(0.0, 1.0, 0.25), Triple(0.999, 0.001, 0.1))) {
            val crop = Crop.around(x, y, size, 640, 480)
            val part = framing.part(Point(x * 640, y * 480), Reach.of(size))
            assertEquals(PixelRect(crop.left, crop.top, crop.side, crop.side), part)
        }
    }

    @Test
    fun moreAndLess() {
        assertEquals("40 % of the shorter side", Reach.of().words)
        assertEquals("The whole picture", Reach.of(isWhole = true).words)
        assertEquals(80, Reach.of().scaled(2.0).percent)
        assertEquals(Reach.of(1.0), Reach.of().scaled(100.0))
        assertEquals(Reach.of(0.1), Reach.of().scaled(0.0))
        assertEquals(Reach.of(0.8), Reach.of(0.4, isWhole = true).scaled(2.0), "fingers choose a square")
    }

    /** Cutting on the sensor and turning gives what turning and cutting gives; points are turned alike. */
    @Test
    fun thePartOnTheSensorIsTheOneOfTheUprightPicture() {
        val sensor = RgbImage(12, 8, ByteArray(12 * 8 * 3) { (it / 3).toByte() })
        val size = Size(12.0, 8.0)
        for (orientation in listOf(1, 3, 6, 8)) {
            val upright = sensor.upright(orientation)
            for (part in listOf(PixelRect(2, 4, 4, 4), PixelRect(1, 2, 5, 3))) {
                val (x, y, width, height) = part.onSensor(orientation, size)
                val turned = sensor.cropped(x, y, width, height).upright(orientation)
                assertEquals(upright.cropped(part.x, part.y, part.width, part.height), turned, "$orientation")
            }
            val there = uprightPoint(Point(3.5, 2.5), orientation, size)
            val pixel = upright.cropped(there.x.toInt(), there.y.toInt(), 1, 1).pixels[0]
            assertEquals(2 * 12 + 3, pixel.toInt(), "$orientation")
        }
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

    /** The whole picture is the largest square of what is seen, in every app. */
    @Test
    fun theWholePictureIsThatOfEveryApp() {
        val cases = PlainJson.shared("whole") as List<*>
        assertTrue(cases.size > 30)
        for (case in cases.map { it as Map<*, *> }) {
            fun pair(name: String) = (case[name] as List<*>).map { (it as Number).toDouble() }
            fun size(name: String) = pair(name).let { (width, height) -> Size(width, height) }
            val fit = if (case["fit"] == "cover") Framing.Fit.COVER else Framing.Fit.CONTAIN
            val (x, y) = pair("centre")
            val part = Framing(size("stage"), size("picture"), fit).part(Point(x, y), Reach.of(isWhole = true))
            val (left, top, side) = case["square"] as List<*>
            assertEquals(listOf(left, top, side, side), part.run { listOf(this.x, this.y, width, height) }, "$case")
        }
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
