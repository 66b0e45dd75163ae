/** The answers of this visit with their pictures, the newest first; in memory alone, and not more than there is room for. */

import type { Turn } from 'phantom-edge-web'

import type { Verdict } from '../verdict'

export const MOST_ENTRIES = 50

/** What the model saw: RGBA pixels, which may be handed over to somebody else once they are copied. */
export interface Seen {
  readonly id: number
  readonly width: number
  readonly height: number
  readonly rgba: ArrayBuffer
}

export interface Entry {
  readonly id: number
  readonly question: string
  readonly verdict: Verdict
  /** For a question that follows. */
  readonly turn: Turn
  readonly at: Date
  readonly picture: Promise<Blob>
}

/** An answer as it is given. */
export type Noted = Pick<Entry, 'question' | 'verdict' | 'turn'>

export class History {
  private list: readonly Entry[] = []
  private count = 0
  private live = ''

  constructor(
    private readonly onChange: () => void,
    private readonly encode: (seen: Seen) => Promise<Blob>,
    private readonly now: () => Date = () => new Date(),
  ) {}

  get entries(): readonly Entry[] {
    return this.list
  }

  /** Takes in an answer. One that repeats by itself, about whatever the camera sees, counts when it is another. */
  add(noted: Noted, seen: Seen | null, isLive: boolean): void {
    const words = `${noted.question}\n${noted.verdict.text}`
    const isRepeated = isLive && words === this.live
    this.live = isLive ? words : ''
    if (isRepeated || !seen) return
    const entry = { ...noted, id: ++this.count, at: this.now(), picture: this.pictureOf(seen) }
    this.list = [entry, ...this.list].slice(0, MOST_ENTRIES)
    this.onChange()
  }

  remove(id: number): void {
    this.list = this.list.filter((entry) => entry.id !== id)
    this.onChange()
  }

  clear(): void {
    this.list = []
    this.onChange()
  }

  private last: { id: number; picture: Promise<Blob> } | null = null

  /** Several answers about one picture share it. */
  private pictureOf(seen: Seen): Promise<Blob> {
    if (this.last?.id !== seen.id) this.last = { id: seen.id, picture: this.encode(seen) }
    return this.last.picture
  }
}
