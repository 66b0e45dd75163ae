package phantom.edge.ar.core

import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import phantom.edge.core.Crop

/** A point; what of, in which units, says where it is used. */
data class Point(val x: Double, val y: Double)

data class Size(val width: Double, val height: Double)

/** A part of a picture, in whole pixels. */
data class PixelRect(val x: Int, val y: Int, val width: Int, val height: Int) {
    /**
     * Where a part of an upright picture lies in the sensor's own picture, which has to be turned as the EXIF
     * [orientation] says to become the upright one. [sensor] is the size of the sensor's.
     */
    fun onSensor(orientation: Int, sensor: Size): PixelRect {
        val (across, down) = sensor.width.toInt() to sensor.height.toInt()
        return when (orientation) {
            3 -> PixelRect(across - x - width, down - y - height, width, height)
            6 -> PixelRect(y, down - x - width, height, width)
            8 -> PixelRect(across - y - height, x, height, width)
            else -> this
        }
    }
}

/** A part of a picture, in pixels. */
data class Area(val left: Double, val top: Double, val right: Double, val bottom: Double) {
    /**
     * What the model looks at: the square around [centre] inside this area, or the largest one. The model gets one tile,
     * and a rectangle that is squeezed into it is nothing that it has learnt from.
     */
    fun part(centre: Point, reach: Reach): PixelRect {
        val (x, width) = whole(left, right)
        val (y, height) = whole(top, bottom)
        val across = clamp((centre.x - x) / width, 0.0, 1.0)
        val down = clamp((centre.y - y) / height, 0.0, 1.0)
        val crop = Crop.around(across, down, if (reach.isWhole) Crop.SIZES.endInclusive else reach.size, width, height)
        return PixelRect(x + crop.left, y + crop.top, crop.side, crop.side)
    }

    companion object {
        /** The area that these corners span. */
        fun around(points: List<Point>): Area =
            Area(points.minOf { it.x }, points.minOf { it.y }, points.maxOf { it.x }, points.maxOf { it.y })

        /**
         * The first of the whole pixels between two edges and how many there are, at least one. The nudge keeps
         * 639.9999… of a rounded scale from losing one.
         */
        private fun whole(from: Double, to: Double): Pair<Int, Int> {
            val first = ceil(from - 1e-6).toInt()
            return first to max(1, floor(to + 1e-6).toInt() - first)
        }
    }
}

/** A picture of some size, shown on a stage of another. */
class Framing(val stage: Size, val picture: Size, fit: Fit) {
    /** `COVER` fills the stage and hides what does not fit, as for a camera; `CONTAIN` shows the whole picture. */
    enum class Fit { COVER, CONTAIN }

    private val scale: Double
    private val left: Double
    private val top: Double

    init {
        val (across, down) = stage.width / picture.width to stage.height / picture.height
        scale = if (fit == Fit.COVER) max(across, down) else min(across, down)
        left = (stage.width - picture.width * scale) / 2
        top = (stage.height - picture.height * scale) / 2
    }

    fun toStage(point: Point) = Point(left + point.x * scale, top + point.y * scale)

    /** A point of the stage in picture pixels, moved to the nearest visible one. */
    fun toPicture(point: Point): Point {
        val area = visible
        return Point(
            clamp((point.x - left) / scale, area.left, area.right),
            clamp((point.y - top) / scale, area.top, area.bottom),
        )
    }

    /** What the model looks at: the square around [centre] (picture pixels) inside what is seen, or the largest one. */
    fun part(centre: Point, reach: Reach): PixelRect = visible.part(centre, reach)

    /** The part's size on the stage, for the viewfinder; its corner is `toStage` of the part's. */
    fun sizeOnStage(part: PixelRect) = Size(part.width * scale, part.height * scale)

    /** The part of the picture that is on the stage. */
    private val visible: Area
        get() =
            Area(
                max(0.0, -left / scale),
                max(0.0, -top / scale),
                min(picture.width, (stage.width - left) / scale),
                min(picture.height, (stage.height - top) / scale),
            )
}

/**
 * The EXIF orientation that turns a camera's picture upright, from where the screen's right lies in it: the pixels that
 * one gets to when going right on the screen, as ARCore's coordinate transforms tell.
 */
fun orientationOf(screenRight: Point): Int =
    when {
        abs(screenRight.x) >= abs(screenRight.y) -> if (screenRight.x >= 0) 1 else 3
        else -> if (screenRight.y < 0) 6 else 8
    }

/** Where a point of the sensor's picture lies in the upright one, which it becomes as [orientation] says. */
fun uprightPoint(point: Point, orientation: Int, sensor: Size): Point =
    when (orientation) {
        3 -> Point(sensor.width - point.x, sensor.height - point.y)
        6 -> Point(sensor.height - point.y, point.x)
        8 -> Point(point.y, sensor.width - point.x)
        else -> point
    }

internal fun clamp(value: Double, least: Double, most: Double): Double = min(max(value, least), max(least, most))
