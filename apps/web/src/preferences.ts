/** What the user chose, kept in the browser for the next time where it keeps anything. */

const TILE_SIZE = 'phantom-edge-tile-size'

/** Side in pixels of the square that the model was last told to look at; null when nothing was chosen. */
export function rememberedTileSize(): number | null {
  try {
    return Number(localStorage.getItem(TILE_SIZE)) || null
  } catch {
    return null // storage is switched off, as in some private windows
  }
}

export function rememberTileSize(size: number): void {
  try {
    localStorage.setItem(TILE_SIZE, String(size))
  } catch {
    // It is chosen again the next time.
  }
}
