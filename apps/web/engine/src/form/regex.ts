/** Chooses tokens so that the answer matches a regular expression. */

import { largest } from '../model/decoding'
import { Automaton, type State } from './automaton'
import { type Constraint, likeliest, likeliestFew } from './constraint'
import { Reader } from './reader'
import type { Vocabulary } from './vocabulary'

const SPACE = 0x20
const FEW = 32
/** Lists of allowed tokens are forgotten when they hold so many ids. */
const MOST_KEPT = 4 << 20

/** A pattern over a vocabulary: which tokens may follow in each of its states, found out when a text is there. */
export class RegexForm {
  readonly automaton: Automaton
  private allowed = new WeakMap<State, Uint32Array>()
  private kept = 0

  /** @throws {Failure} `prompt` for a pattern that is refused. */
  constructor(
    regex: string,
    readonly vocabulary: Vocabulary,
    readonly endIds: readonly number[],
  ) {
    this.automaton = new Automaton(regex)
  }

  /** Ids of the tokens of the vocabulary that may follow where `reader` is, in no order. Moves the reader. */
  allowedAfter(reader: Reader): Uint32Array {
    const { state, begun, spaces } = reader
    if (begun !== 0 || spaces !== 0) return this.walk(reader)
    const known = this.allowed.get(state)
    if (known) return known
    const ids = this.walk(reader)
    if (this.kept > MOST_KEPT) {
      this.allowed = new WeakMap()
      this.kept = 0
    }
    this.allowed.set(state, ids)
    this.kept += ids.length
    return ids
  }

  /** Reads every token from where `reader` is, each beginning that several share once. */
  private walk(reader: Reader): Uint32Array {
    const { order, shared, bytes, starts } = this.vocabulary
    const states: State[] = [reader.state]
    const begun = [reader.begun]
    const spaces = [reader.spaces]
    const ids: number[] = []
    let read = 0 // bytes of the token before that could be read
    for (let n = 0; n < order.length; n++) {
      if (shared[n] > read) continue // as far as the one before, and then the same byte that cannot follow
      const id = order[n]
      const start = starts[id]
      const length = starts[id + 1] - start
      read = shared[n]
      reader.state = states[read]
      reader.begun = begun[read]
      reader.spaces = spaces[read]
      while (read < length && reader.read(bytes[start + read])) {
        read++
        states[read] = reader.state
        begun[read] = reader.begun
        spaces[read] = reader.spaces
      }
      if (read === length && (spaces[0] === 0 || !isSkipped(this.vocabulary.of(id), spaces[0]))) ids.push(id)
    }
    return Uint32Array.from(ids)
  }
}

/** One answer in a {@link RegexForm}. */
export class RegexConstraint implements Constraint {
  private readonly reader: Reader

  constructor(private readonly form: RegexForm) {
    this.reader = new Reader(form.automaton, form.vocabulary.strippedSpaces)
  }

  /** Whether the answer may end here. */
  get mayEnd(): boolean {
    return this.reader.isMatch
  }

  get isComplete(): boolean {
    return this.mayEnd && this.reader.state.steps.length === 1 // the match, and nothing that reads
  }

  /** Ids of the tokens that may follow, end tokens aside, in no order. */
  allowed(): Uint32Array {
    return this.apart((reader) => this.form.allowedAfter(reader))
  }

  choose(logits: Float32Array): number {
    // Mostly the likeliest token of all may follow, or one of the next, which is known much faster than all that may.
    const top = largest(logits)
    if (this.allows(top)) return top
    const next = likeliestFew(logits, FEW).find((id) => this.allows(id))
    if (next !== undefined) return next
    return likeliest(logits, [...(this.mayEnd ? this.form.endIds : []), ...this.allowed()])
  }

  append(id: number): void {
    for (const byte of this.form.vocabulary.of(id)) this.reader.read(byte)
  }

  private allows(id: number): boolean {
    if (this.form.endIds.includes(id)) return this.mayEnd
    const bytes = this.form.vocabulary.of(id)
    if (bytes.length === 0 || isSkipped(bytes, this.reader.spaces)) return false
    return this.apart((reader) => bytes.every((byte) => reader.read(byte)))
  }

  /** What `work` gives, after which the answer is where it was. */
  private apart<T>(work: (reader: Reader) => T): T {
    const { state, begun, spaces } = this.reader
    const result = work(this.reader)
    this.reader.state = state
    this.reader.begun = begun
    this.reader.spaces = spaces
    return result
  }
}

/** Whether a token at the start of an answer is nothing but spaces that are no part of its text. */
function isSkipped(bytes: Uint8Array, spaces: number): boolean {
  return bytes.length <= spaces && bytes.every((byte) => byte === SPACE)
}
