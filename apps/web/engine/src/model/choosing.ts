/** Choosing the next token from logits: the rule of all languages, which draw the same tokens from the same seed. */

import { largest } from './decoding'
import { SplitMix64 } from './random'
import type { Sampling } from './sampling'

/** From logits [vocabulary] to a token. */
export type Choose = (logits: Float32Array) => number

/** A new sequence of choices. */
export function chooser({ temperature, topP, topK, seed }: Sampling): Choose {
  if (temperature === 0) return largest
  const random = new SplitMix64(seed ?? Math.floor(Math.random() * Number.MAX_SAFE_INTEGER))
  return (logits) => {
    largest(logits) // refuses what is not finite
    const likeliest = new Likeliest(logits, temperature)
    if (topP === 1 && topK === 0) return pick(likeliest, random.unit() * likeliest.total)
    const kept = nucleus(likeliest, topP, topK)
    return pick(kept.values(), random.unit() * kept.reduce((sum, { weight }) => sum + weight, 0))
  }
}

export interface Weighted {
  readonly id: number
  readonly weight: number
}

/** The tokens that may follow, the likeliest first: up to the first sum that reaches `topP`, and `topK` of them at most. */
export function nucleus(likeliest: Likeliest, topP: number, topK: number): Weighted[] {
  const kept: Weighted[] = []
  let sum = 0
  for (const token of likeliest) {
    kept.push(token)
    sum += token.weight
    if ((topP < 1 && sum / likeliest.total >= topP) || kept.length === topK) break
  }
  return kept
}

/** The token under `place` when the weights are laid end to end. */
function pick(tokens: Iterable<Weighted>, place: number): number {
  let sum = 0
  let last = 0
  for (const { id, weight } of tokens) {
    sum += weight
    last = id
    if (sum > place) break
  }
  return last
}

/** Tokens from the likeliest on; of equal ones the smaller id comes first. Ordered only as far as it is asked: a heap. */
export class Likeliest implements Iterable<Weighted> {
  /** Sum of all weights, the softmax's denominator. */
  readonly total: number
  private readonly weights: Float64Array
  private readonly heap: Int32Array
  private size: number

  constructor(logits: Float32Array, temperature: number) {
    const top = logits.reduce((most, value) => Math.max(most, value), -Infinity) / temperature
    this.weights = Float64Array.from(logits, (logit) => Math.exp(logit / temperature - top))
    this.total = this.weights.reduce((sum, weight) => sum + weight, 0)
    this.heap = Int32Array.from(logits.keys())
    this.size = logits.length
    for (let at = (this.size >> 1) - 1; at >= 0; at--) this.sink(at)
  }

  *[Symbol.iterator](): Iterator<Weighted> {
    while (this.size > 0) {
      const id = this.heap[0] as number
      this.heap[0] = this.heap[--this.size] as number
      this.sink(0)
      yield { id, weight: this.weights[id] as number }
    }
  }

  private sink(at: number): void {
    const { heap, size } = this
    for (;;) {
      let first = at
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < size && this.isBefore(heap[child] as number, heap[first] as number)) first = child
      }
      if (first === at) return
      ;[heap[at], heap[first]] = [heap[first] as number, heap[at] as number]
      at = first
    }
  }

  private isBefore(a: number, b: number): boolean {
    const difference = (this.weights[a] as number) - (this.weights[b] as number)
    return difference > 0 || (difference === 0 && a < b)
  }
}
