package phantom.edge.ar

import android.media.Image
import com.google.ar.core.Coordinates2d
import com.google.ar.core.Frame
import com.google.ar.core.exceptions.DeadlineExceededException
import com.google.ar.core.exceptions.NotYetAvailableException
import com.google.ar.core.exceptions.ResourceExhaustedException
import java.nio.ByteBuffer
import phantom.edge.ar.core.Area
import phantom.edge.ar.core.PixelRect
import phantom.edge.ar.core.Point
import phantom.edge.ar.core.Reach
import phantom.edge.ar.core.Size
import phantom.edge.ar.core.YuvPicture
import phantom.edge.ar.core.orientationOf
import phantom.edge.ar.core.uprightPoint
import phantom.edge.core.RgbImage

/** A frame's picture for the processor, copied out of ARCore, with the part to look at and how it is turned. */
class Snapshot private constructor(
    private val picture: YuvPicture,
    private val part: PixelRect, // of the sensor's picture
    private val orientation: Int,
) {
    /** The part, upright. Takes some tens of milliseconds. */
    fun image(): RgbImage = picture.cut(part).upright(orientation)

    companion object {
        /** What [reach] takes in around a point of the view; null while there is no picture. */
        fun of(frame: Frame, point: Point, view: Size, reach: Reach): Snapshot? {
            val image =
                try {
                    frame.acquireCameraImage()
                } catch (error: NotYetAvailableException) {
                    return null
                } catch (error: ResourceExhaustedException) {
                    return null
                } catch (error: DeadlineExceededException) {
                    return null
                }
            return image.use { taken ->
                val (width, height) = view.width to view.height
                val corners =
                    listOf(Point(0.0, 0.0), Point(width, 0.0), Point(0.0, height), Point(width, height), point)
                val there = toImage(frame, corners)
                val orientation = orientationOf(Point(there[1].x - there[0].x, there[1].y - there[0].y))
                val sensor = Size(taken.width.toDouble(), taken.height.toDouble())
                val upright = there.map { uprightPoint(it.inside(sensor), orientation, sensor) }
                val part = Area.around(upright.take(4)).part(upright[4], reach)
                Snapshot(copied(taken), part.onSensor(orientation, sensor), orientation)
            }
        }

        private fun toImage(frame: Frame, points: List<Point>): List<Point> {
            val from = FloatArray(2 * points.size) { points[it / 2].run { if (it % 2 == 0) x else y }.toFloat() }
            val to = FloatArray(from.size)
            frame.transformCoordinates2d(Coordinates2d.VIEW, from, Coordinates2d.IMAGE_PIXELS, to)
            return List(points.size) { Point(to[2 * it].toDouble(), to[2 * it + 1].toDouble()) }
        }

        private fun Point.inside(size: Size) = Point(x.coerceIn(0.0, size.width), y.coerceIn(0.0, size.height))

        /** ARCore has few pictures to lend, so they are given back at once. */
        private fun copied(image: Image): YuvPicture {
            val (y, u, v) =
                image.planes.map { plane ->
                    val bytes = ByteArray(plane.buffer.remaining()).also(plane.buffer::get)
                    YuvPicture.Plane(ByteBuffer.wrap(bytes), plane.rowStride, plane.pixelStride)
                }
            return YuvPicture(y, u, v)
        }
    }
}
