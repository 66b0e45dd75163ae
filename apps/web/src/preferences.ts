/** What the user chose, kept in the browser for the next time where it keeps anything. */

const TILE_SIZE = 'phantom-edge-tile-size'
const DIGIT_KEYS = 'phantom-edge-digit-keys'

/** Side in pixels of the square that the model was last told to look at; null when nothing was chosen. */
export function rememberedTileSize(): number | null {
  return Number(read(TILE_SIZE)) || null
}

export function rememberTileSize(size: number): void {
  write(TILE_SIZE, String(size))
}

/** Whether the keys 1 to 9 choose a question. */
export function rememberedDigitKeys(): boolean {
  return read(DIGIT_KEYS) !== 'off'
}

export function rememberDigitKeys(on: boolean): void {
  write(DIGIT_KEYS, on ? 'on' : 'off')
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null // storage is switched off, as in some private windows
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value)
  } catch {
    // It is chosen again the next time.
  }
}
