package phantom.edge.ar.core

/** A point in the room, in metres. */
data class Place(val x: Double, val y: Double, val z: Double) {
    operator fun plus(other: Place) = Place(x + other.x, y + other.y, z + other.z)

    operator fun minus(other: Place) = Place(x - other.x, y - other.y, z - other.z)

    operator fun times(factor: Double) = Place(x * factor, y * factor, z * factor)

    val length: Double
        get() = kotlin.math.sqrt(x * x + y * y + z * z)
}

/**
 * Between the room and the screen: [matrix] is projection times view, column by column as OpenGL has it, [inverse] its
 * inverse.
 */
class Projection(private val matrix: FloatArray, private val inverse: FloatArray, private val stage: Size) {
    /** Where a place is on the stage; null when it lies behind the camera or outside the picture. */
    fun toStage(place: Place): Point? {
        val (x, y, _, w) = times(matrix, place.x, place.y, place.z, 1.0)
        if (w <= 0) return null
        val (right, up) = x / w to y / w
        if (right !in -1.0..1.0 || up !in -1.0..1.0) return null
        return Point((right + 1) / 2 * stage.width, (1 - up) / 2 * stage.height)
    }

    /** The place on the ray through a point of the stage, [metres] from where the ray begins. */
    fun along(point: Point, metres: Double): Place {
        val (right, up) = 2 * point.x / stage.width - 1 to 1 - 2 * point.y / stage.height
        val from = divided(times(inverse, right, up, -1.0, 1.0))
        val ahead = divided(times(inverse, right, up, 1.0, 1.0)) - from
        return from + ahead * (metres / ahead.length)
    }

    private fun times(m: FloatArray, x: Double, y: Double, z: Double, w: Double): DoubleArray =
        DoubleArray(4) { m[it] * x + m[4 + it] * y + m[8 + it] * z + m[12 + it] * w }

    private fun divided(v: DoubleArray) = Place(v[0] / v[3], v[1] / v[3], v[2] / v[3])
}
