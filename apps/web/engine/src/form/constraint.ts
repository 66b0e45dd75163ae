/** Which tokens may follow in one answer. */

import { Failure } from '../failure'

export interface Constraint {
  /**
   * The likeliest token that may follow, the first of equals; an end token where the answer may end.
   *
   * @throws {Failure} `model` where no token of this model can go on, and for logits that are not finite.
   */
  choose(logits: Float32Array): number
  /** Takes a token that was chosen, and is no end, into the answer. */
  append(id: number): void
  /** Whether nothing but an end may follow. */
  readonly isComplete: boolean
}

/** The likeliest of `ids`, the first of equals. @throws {Failure} `model` where there is none. */
export function likeliest(logits: Float32Array, ids: Iterable<number>): number {
  let best = -1
  for (const id of ids) if (best < 0 || logits[id] > logits[best] || (logits[id] === logits[best] && id < best)) best = id
  if (best < 0) throw new Failure('model', 'No token of this model continues an answer in this form. Use another form.')
  return best
}

/** The likeliest tokens, `count` of them, the likeliest first; the first of equals. */
export function likeliestFew(logits: Float32Array, count: number): number[] {
  const few: number[] = []
  for (let id = 0; id < logits.length; id++) {
    if (few.length === count && logits[id] <= logits[few[count - 1]]) continue
    if (few.length === count) few.pop()
    const place = few.findIndex((other) => logits[other] < logits[id])
    few.splice(place < 0 ? few.length : place, 0, id)
  }
  return few
}
