package phantom.edge.ar.core

/** How finely the model looks: one of its sizes of tiles, by its side in pixels, with a name for a user. */
data class PictureDetail(val size: Int, val name: String) {
    override fun toString() = name

    companion object {
        /** A choice for each size, the finest first; none where there is only one. */
        fun all(sizes: List<Int>): List<PictureDetail> =
            if (sizes.size < 2) emptyList() else sizes.sortedDescending().mapIndexed { n, size ->
                val name = if (n == 0) Phrase.FINE else if (n == sizes.lastIndex) Phrase.FAST else Phrase.MEDIUM
                PictureDetail(size, name.text(size))
            }
    }
}

/** Keeps the size that the user chose for the next start. */
interface TileSizeStore {
    fun read(): Int?

    fun write(size: Int)

    /** Forgets at once. */
    object None : TileSizeStore {
        override fun read(): Int? = null

        override fun write(size: Int) = Unit
    }
}
