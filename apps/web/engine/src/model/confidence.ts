/** How sure the model is of a free answer: the probability that it gave to just these tokens, and to their end. */

/** Of a longer answer the probability says little: many wordings are equally good, and share it. */
const MOST_TOKENS = 12

/**
 * One answer, token by token, under the model's own softmax: before a temperature or a form's mask. Costs a pass over
 * the logits for each of the first twelve tokens, and one for the end.
 */
export class Confidence {
  private tokens = 0
  private score = 0 // logarithm

  /** Ends may be several: their probabilities add up. */
  constructor(private readonly endIds: readonly number[]) {}

  /** Goes on with a token and the logits that it was chosen from. */
  add(logits: Float32Array, token: number): void {
    if (++this.tokens <= MOST_TOKENS) this.score += logits[token]! - logSum(logits)
  }

  /**
   * The probability of the whole answer, null where it has more than twelve tokens. `logits` are those that the end was
   * chosen from, null where a form left nothing but the end.
   */
  ended(logits: Float32Array | null): number | null {
    if (this.tokens > MOST_TOKENS) return null
    const end = logits ? logSum(logits, this.endIds) - logSum(logits) : 0
    return Math.min(1, Math.exp(this.score + end))
  }
}

/** The logarithm of the sum of the exponentials of some values, or of all. */
export function logSum(values: Float32Array | Float64Array, among: readonly number[] | null = null): number {
  const some = among === null ? values : among.map((n) => values[n]!)
  let top = -Infinity
  let sum = 0
  for (let n = 0; n < some.length; n++) top = Math.max(top, some[n]!)
  for (let n = 0; n < some.length; n++) sum += Math.exp(some[n]! - top)
  return top + Math.log(sum)
}
