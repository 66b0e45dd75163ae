package phantom.edge.core

import kotlin.math.abs

/**
 * How a picture is cut into square tiles: the rule that the model was trained with.
 *
 * [size] is the side of a tile in pixels, [max] the most tiles of the grid; with [thumbnail] more than one tile is
 * followed by the whole picture as one more.
 */
data class TilePolicy(val size: Int, val max: Int, val thumbnail: Boolean = true) {
    /**
     * Columns and rows: the grid of at most [max] tiles whose aspect ratio is closest to the picture's.
     *
     * Of grids equally close the smallest wins, unless the picture has more than half the pixels of a larger one.
     */
    fun grid(width: Int, height: Int): Pair<Int, Int> {
        val grids = (1..max).flatMap { columns -> (1..max / columns).map { columns to it } }
        val all = grids.sortedBy { it.first * it.second }
        // Floating point, not fractions: the published code compares rounded quotients, and its ties are ours.
        fun distance(grid: Pair<Int, Int>) = abs(width.toDouble() / height - grid.first.toDouble() / grid.second)
        val closest = all.minOf(::distance)
        val ties = all.filter { distance(it) == closest }
        val pixels = width.toDouble() * height
        return ties.drop(1).lastOrNull { pixels > 0.5 * size * size * it.first * it.second } ?: ties.first()
    }

    /** Number of tiles that a picture of this size becomes. */
    fun count(width: Int, height: Int): Int {
        val (columns, rows) = grid(width, height)
        return columns * rows + if (thumbnail && columns * rows > 1) 1 else 0
    }

    /** The tiles, row by row, and the thumbnail last. */
    fun split(image: RgbImage): List<RgbImage> {
        val (columns, rows) = grid(image.width, image.height)
        val whole = image.resized(columns * size, rows * size)
        val corners = (0 until rows).flatMap { row -> (0 until columns).map { it to row } }
        val tiles = corners.map { (column, row) -> whole.part(column * size, row * size, size, size) }
        return if (thumbnail && tiles.size > 1) tiles + image.resized(size, size) else tiles
    }

    companion object {
        /** What the vision encoder takes: `[3, size, size]`, RGB in 0..1. */
        fun planar(tile: RgbImage): FloatArray {
            val count = tile.width * tile.height
            return FloatArray(3 * count) { (tile.pixels[it % count * 3 + it / count].toInt() and 0xFF) / 255f }
        }
    }
}
