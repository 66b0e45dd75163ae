/** What the user chose, kept in the browser for the next time where it keeps anything. */

export type Scheme = 'auto' | 'light' | 'dark'

/** Everything that can be chosen; null, or the value at the end of a line here, where nothing was. */
export interface Preferences {
  /** Side in pixels of the square that the model looks at. */
  readonly tileSize: number | null
  /** Whether the keys 1 to 9 choose a question; true. */
  readonly digitKeys: boolean
  readonly language: string | null
  readonly scheme: Scheme | null
  /** Most tokens of an answer. */
  readonly longestAnswer: number | null
  /** Stands before each question to the model; empty. */
  readonly prefix: string
}

export const LONGEST_PREFIX = 200 // characters
const NAMES: Readonly<Record<keyof Preferences, string>> = {
  tileSize: 'phantom-edge-tile-size',
  digitKeys: 'phantom-edge-digit-keys',
  language: 'phantom-edge-language',
  scheme: 'phantom-edge-scheme',
  longestAnswer: 'phantom-edge-longest-answer',
  prefix: 'phantom-edge-prefix',
}

/** What was chosen; what makes no sense counts as not chosen. */
export function readPreferences(): Preferences {
  const scheme = read('scheme')
  return {
    tileSize: positive(read('tileSize')),
    digitKeys: read('digitKeys') !== 'false',
    language: read('language'),
    scheme: scheme === 'auto' || scheme === 'light' || scheme === 'dark' ? scheme : null,
    longestAnswer: positive(read('longestAnswer')),
    prefix: (read('prefix') ?? '').slice(0, LONGEST_PREFIX),
  }
}

/** Keeps one choice; null forgets it. */
export function remember<K extends keyof Preferences>(name: K, value: Preferences[K]): void {
  try {
    if (value === null) localStorage.removeItem(NAMES[name])
    else localStorage.setItem(NAMES[name], String(value))
  } catch {
    // It is chosen again the next time.
  }
}

/** Forgets every choice. */
export function forgetPreferences(): void {
  for (const name of Object.keys(NAMES) as (keyof Preferences)[]) {
    try {
      localStorage.removeItem(NAMES[name])
    } catch {
      // Nothing was kept.
    }
  }
}

function read(name: keyof Preferences): string | null {
  try {
    return localStorage.getItem(NAMES[name])
  } catch {
    return null // storage is switched off, as in some private windows
  }
}

function positive(text: string | null): number | null {
  const value = Number(text)
  return Number.isInteger(value) && value > 0 ? value : null
}
