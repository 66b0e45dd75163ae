/**
 * A pattern as a deterministic automaton, of which only the states that a text comes to are made. Each is the set of a
 * program's steps that the text may be at, so that reading takes the same time per character whatever the pattern.
 */

import { parsePattern } from './pattern'
import { compile, EITHER, MATCH, type Program } from './program'

/** A state. Texts in it can all become a match: there is no state for the others. */
export interface State {
  /** Steps of the program that read a character or match, in no order. */
  readonly steps: Uint16Array
  /** Whether a text may end here. */
  readonly isMatch: boolean
  /** Where each symbol leads, as far as that is known; null is nowhere. */
  readonly next: (State | null | undefined)[]
}

/** States are forgotten when so many steps are in them; patterns with very many states are then read all the same. */
const MOST_STEPS = 2 << 20

export class Automaton {
  private readonly program: Program
  /** By a hash of their steps. */
  private readonly states = new Map<number, State[]>()
  private steps = 0
  /** For each step of the program, the last closure that it was in. */
  private readonly seen: Uint32Array
  private closures = 0
  /** Room for the steps that a closure is to look at, and for those of them that read: of typed arrays, for speed. */
  private readonly waiting: Uint16Array
  private readonly reading: Uint16Array

  /** @throws {Failure} `prompt` for a pattern that is refused. */
  constructor(pattern: string) {
    this.program = compile(parsePattern(pattern))
    const size = this.program.kinds.length
    this.seen = new Uint32Array(size)
    this.waiting = new Uint16Array(3 * size) // each step comes in from a state once, and from other steps twice at most
    this.reading = new Uint16Array(size)
  }

  start(): State {
    this.waiting[0] = this.program.start
    return this.closure(1)!
  }

  /** The state after one more character; null where no match can begin so. */
  read(state: State, character: number): State | null {
    return this.follow(state, this.program.alphabet.symbolOf(character))
  }

  /** Whether any character of `first` to `last` may follow. */
  readsAny(state: State, first: number, last: number): boolean {
    const { alphabet } = this.program
    const end = alphabet.symbolOf(last)
    for (let symbol = alphabet.symbolOf(first); symbol <= end; symbol++) if (this.follow(state, symbol)) return true
    return false
  }

  private follow(state: State, symbol: number): State | null {
    const known = state.next[symbol]
    if (known !== undefined) return known
    const { kinds, next, alphabet } = this.program
    const { steps } = state
    let targets = 0
    for (let n = 0; n < steps.length; n++) {
      const step = steps[n]
      if (kinds[step] !== MATCH && alphabet.holds(kinds[step], symbol)) this.waiting[targets++] = next[step]
    }
    return (state.next[symbol] = this.closure(targets))
  }

  /** The state of the first `count` steps that wait, and of whatever is reached from them without reading. */
  private closure(count: number): State | null {
    const { kinds, next, other, isLive } = this.program
    const { seen, waiting, reading } = this
    const closure = ++this.closures
    let length = 0
    let hash = 0
    let isMatch = false
    while (count > 0) {
      const step = waiting[--count]
      if (seen[step] === closure || isLive[step] === 0) continue
      seen[step] = closure
      if (kinds[step] === EITHER) {
        waiting[count++] = other[step]
        waiting[count++] = next[step]
        continue
      }
      reading[length++] = step
      hash = (hash + mixed(step)) | 0 // a sum, because the order tells nothing
      if (kinds[step] === MATCH) isMatch = true
    }
    return length === 0 ? null : this.intern(reading.subarray(0, length), hash, isMatch)
  }

  /** The state of the steps of the last closure. */
  private intern(reading: Uint16Array, hash: number, isMatch: boolean): State {
    const alike = this.states.get(hash) ?? []
    const isSame = ({ steps }: State) =>
      steps.length === reading.length && steps.every((step) => this.seen[step] === this.closures)
    const known = alike.find(isSame)
    if (known) return known
    if (this.steps > MOST_STEPS) {
      this.states.clear()
      this.steps = 0
    }
    const state = { steps: reading.slice(), isMatch, next: [] }
    this.steps += reading.length + 1
    this.states.set(hash, [...alike, state])
    return state
  }
}

/** A number in 32 bits that tells little of `n`, so that sums of several rarely agree. */
function mixed(n: number): number {
  const product = Math.imul(n + 1, 0x9e3779b1)
  return Math.imul(product ^ (product >>> 15), 0x85ebca6b)
}
