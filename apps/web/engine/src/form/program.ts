/** A pattern as a nondeterministic automaton, by Thompson's construction: as large as the pattern, whatever it repeats. */

import { type CharSet, contains, LAST_CHARACTER } from './char_sets'
import { type Pattern, refuse } from './pattern'

/** A program's step is one of these, or else the number of the set of which it reads a character. */
export const EITHER = -1
export const MATCH = -2

/** Steps, each with where it leads; {@link EITHER} leads to two others, {@link MATCH} nowhere. */
export interface Program {
  readonly kinds: Int32Array
  readonly next: Int32Array
  readonly other: Int32Array
  readonly start: number
  /** Whether a match can be reached from each step. */
  readonly isLive: Uint8Array
  readonly alphabet: Alphabet
}

/** Most steps, so that a step's number takes 16 bits: several times what a pattern of the largest size needs. */
const MOST_STEPS = 0xffff

/** @throws {Failure} `prompt` for a pattern that no text matches. */
export function compile(pattern: Pattern): Program {
  const builder = new Builder()
  const start = builder.add(pattern, builder.push(MATCH))
  const [kinds, next, other] = [builder.kinds, builder.next, builder.other].map((list) => Int32Array.from(list))
  if (kinds.length > MOST_STEPS) refuse('large')
  const isLive = liveSteps(builder)
  if (!isLive[start]) refuse('none')
  return { kinds, next, other, start, isLive, alphabet: new Alphabet(builder.sets) }
}

class Builder {
  readonly kinds: number[] = []
  readonly next: number[] = []
  readonly other: number[] = []
  readonly sets: CharSet[] = []
  private readonly known = new Map<string, number>()

  push(kind: number, next = -1, other = -1): number {
    this.next.push(next)
    this.other.push(other)
    return this.kinds.push(kind) - 1
  }

  /** Adds the steps of `pattern` in front of `next`, and returns the first. */
  add(pattern: Pattern, next: number): number {
    switch (pattern.kind) {
      case 'set':
        return this.push(this.setId(pattern.set), next)
      case 'sequence':
        return pattern.parts.reduceRight((after, part) => this.add(part, after), next)
      case 'alternatives':
        return pattern.parts
          .map((part) => this.add(part, next))
          .reduceRight((other, first) => this.push(EITHER, first, other))
      case 'repeat':
        return this.repeat(pattern.part, pattern.least, pattern.most, next)
    }
  }

  private repeat(part: Pattern, least: number, most: number | null, next: number): number {
    let first = next
    let copies = least
    if (most === null) {
      const loop = this.push(EITHER, -1, next)
      this.next[loop] = this.add(part, loop)
      first = least === 0 ? loop : this.next[loop] // `a+` goes around the loop of `a*`, without another copy
      copies = Math.max(0, least - 1)
    }
    for (let n = least; n < (most ?? 0); n++) first = this.push(EITHER, this.add(part, first), next)
    for (let n = 0; n < copies; n++) first = this.add(part, first)
    return first
  }

  private setId(set: CharSet): number {
    const key = set.join()
    const id = this.known.get(key) ?? this.sets.push(set) - 1
    this.known.set(key, id)
    return id
  }
}

function liveSteps({ kinds, next, other, sets }: Builder): Uint8Array {
  const before: number[][] = kinds.map(() => [])
  for (const [n, kind] of kinds.entries()) {
    if (kind === EITHER) before[other[n]].push(n)
    if (kind === EITHER || (kind !== MATCH && sets[kind].length > 0)) before[next[n]].push(n)
  }
  const isLive = Uint8Array.from(kinds, (kind) => Number(kind === MATCH))
  const waiting = [kinds.indexOf(MATCH)]
  for (let n = waiting.pop(); n !== undefined; n = waiting.pop()) {
    for (const earlier of before[n]) {
      if (!isLive[earlier]) waiting.push(earlier)
      isLive[earlier] = 1
    }
  }
  return isLive
}

/** Classes of characters that no set of a program tells apart: its symbols. */
export class Alphabet {
  /** First character of each symbol. */
  private readonly firsts: readonly number[]
  private readonly ascii: Uint16Array
  private readonly members: readonly Uint8Array[]

  constructor(sets: readonly CharSet[]) {
    const edges = sets.flatMap((set) => set.map((edge, n) => (n % 2 ? edge + 1 : edge)))
    this.firsts = [...new Set([0, ...edges])].filter((edge) => edge <= LAST_CHARACTER).sort((a, b) => a - b)
    this.ascii = Uint16Array.from({ length: 128 }, (_, character) => this.search(character))
    this.members = sets.map((set) => Uint8Array.from(this.firsts, (first) => Number(contains(set, first))))
  }

  symbolOf(character: number): number {
    return character < 128 ? this.ascii[character] : this.search(character)
  }

  /** Whether the characters of a symbol are in a set. */
  holds(set: number, symbol: number): boolean {
    return this.members[set][symbol] === 1
  }

  private search(character: number): number {
    let low = 0
    let high = this.firsts.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (this.firsts[middle] <= character) low = middle
      else high = middle
    }
    return low
  }
}
