/** Reads UTF-8 byte by byte: tokens may begin and end within a character. */

import type { Automaton, State } from './automaton'

const SPACE = 0x20
const TWO_BITS = 3 // of `begun`: bytes to come, bytes of the character in all less one, then the value so far
const LEAST = [0, 0, 0x80, 0x800, 0x10000] // the first character of each length; a longer form of it is no UTF-8
const LAST = [0, 0, 0x7ff, 0xffff, 0x10ffff]
const [FIRST_SURROGATE, LAST_SURROGATE] = [0xd800, 0xdfff]

export class Reader {
  state: State
  /** What is known of a character that has begun; 0 between characters. */
  begun = 0

  /** `spaces` is how many spaces at the very start are skipped: they are no part of the text. */
  constructor(
    private readonly automaton: Automaton,
    public spaces = 0,
  ) {
    this.state = automaton.start()
  }

  /** Whether the text so far matches, to its last byte. */
  get isMatch(): boolean {
    return this.begun === 0 && this.state.isMatch
  }

  /** Reads one byte. Returns whether a match can still come of it. */
  read(byte: number): boolean {
    if (this.spaces > 0) {
      if (byte === SPACE) return this.spaces-- > 0
      this.spaces = 0
    }
    if (this.begun !== 0) return this.readOn(byte)
    if (byte < 0x80) return this.enter(this.automaton.read(this.state, byte))
    const length = byte < 0xc0 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf8 ? 4 : 0
    return length > 0 && this.begin(byte & (0x7f >> length), length - 1, length)
  }

  private readOn(byte: number): boolean {
    if (byte < 0x80 || byte > 0xbf) return false
    const left = this.begun & TWO_BITS
    const length = ((this.begun >> 2) & TWO_BITS) + 1
    return this.begin(((this.begun >> 4) << 6) | (byte & 0x3f), left - 1, length)
  }

  /** Of a character of `length` bytes `left` are to come, and what came is `value`. */
  private begin(value: number, left: number, length: number): boolean {
    const first = Math.max(value << (6 * left), LEAST[length])
    let last = Math.min(((value + 1) << (6 * left)) - 1, LAST[length])
    if (first < FIRST_SURROGATE && last >= FIRST_SURROGATE && last <= LAST_SURROGATE) last = FIRST_SURROGATE - 1
    if (first > last || (first >= FIRST_SURROGATE && last <= LAST_SURROGATE)) return false
    if (left === 0) return this.enter(this.automaton.read(this.state, first))
    if (!this.automaton.readsAny(this.state, first, last)) return false
    this.begun = (value << 4) | ((length - 1) << 2) | left
    return true
  }

  private enter(state: State | null): boolean {
    if (!state) return false
    this.state = state
    this.begun = 0
    return true
  }
}
