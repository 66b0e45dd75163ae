package phantom.edge.ar.core

import kotlin.math.abs
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min

/** A point; what of, in which units, says where it is used. */
data class Point(val x: Double, val y: Double)

data class Size(val width: Double, val height: Double)

/** A square of whole picture pixels, even numbers: a camera's colours come in pairs of pixels. */
data class Square(val x: Int, val y: Int, val side: Int)

/** A part of a picture, in pixels. */
data class Area(val left: Double, val top: Double, val right: Double, val bottom: Double) {
    /** The largest square inside, as close around [centre] as the edges allow. */
    fun square(centre: Point): Square {
        val side = max(2, even(min(right - left, bottom - top)))
        val x = even(clamp(centre.x - side / 2.0, left, right - side))
        val y = even(clamp(centre.y - side / 2.0, top, bottom - side))
        return Square(max(0, x), max(0, y), side)
    }

    companion object {
        /** The area that these corners span. */
        fun around(points: List<Point>): Area =
            Area(points.minOf { it.x }, points.minOf { it.y }, points.maxOf { it.x }, points.maxOf { it.y })
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

    /** The largest square that can be seen, as close around [centre] (picture pixels) as its edges allow. */
    fun square(centre: Point): Square = visible.square(centre)

    /** The square's side on the stage, for the viewfinder; its corner is `toStage` of the square's. */
    fun sideOnStage(square: Square): Double = square.side * scale

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

internal fun clamp(value: Double, least: Double, most: Double): Double = min(max(value, least), max(least, most))

/** The even number at or below. The nudge keeps 639.9999… of a rounded scale from losing two pixels. */
private fun even(value: Double): Int = 2 * floor((value + 1e-6) / 2).toInt()
