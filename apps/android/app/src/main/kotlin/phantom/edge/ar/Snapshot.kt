package phantom.edge.ar

import android.media.Image
import com.google.ar.core.Coordinates2d
import com.google.ar.core.Frame
import com.google.ar.core.exceptions.DeadlineExceededException
import com.google.ar.core.exceptions.NotYetAvailableException
import com.google.ar.core.exceptions.ResourceExhaustedException
import java.nio.ByteBuffer
import phantom.edge.ar.core.Area
import phantom.edge.ar.core.Point
import phantom.edge.ar.core.Size
import phantom.edge.ar.core.Square
import phantom.edge.ar.core.YuvPicture
import phantom.edge.ar.core.orientationOf
import phantom.edge.core.RgbImage

/** A frame's picture for the processor, copied out of ARCore, with the square to look at and how it is turned. */
class Snapshot private constructor(
    private val picture: YuvPicture,
    private val square: Square,
    private val orientation: Int,
) {
    /** The square, upright. Takes some tens of milliseconds. */
    fun image(): RgbImage = picture.cut(square).upright(orientation)

    companion object {
        /** The square around a point of the view; null while there is no picture. */
        fun of(frame: Frame, point: Point, view: Size): Snapshot? {
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
                val shown = Area.around(there.take(4)).inside(taken)
                val right = Point(there[1].x - there[0].x, there[1].y - there[0].y)
                Snapshot(copied(taken), shown.square(there[4]), orientationOf(right))
            }
        }

        private fun toImage(frame: Frame, points: List<Point>): List<Point> {
            val from = FloatArray(2 * points.size) { points[it / 2].run { if (it % 2 == 0) x else y }.toFloat() }
            val to = FloatArray(from.size)
            frame.transformCoordinates2d(Coordinates2d.VIEW, from, Coordinates2d.IMAGE_PIXELS, to)
            return List(points.size) { Point(to[2 * it].toDouble(), to[2 * it + 1].toDouble()) }
        }

        private fun Area.inside(image: Image) =
            Area(
                maxOf(left, 0.0),
                maxOf(top, 0.0),
                minOf(right, image.width.toDouble()),
                minOf(bottom, image.height.toDouble()),
            )

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
