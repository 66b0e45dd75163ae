/** The tokens that may write an answer, by what they write, in an order in which they share beginnings. */

export class Vocabulary {
  /** The bytes of all tokens, one after the other, and where each begins, by id; the next one's beginning is its end. */
  readonly bytes: Uint8Array
  readonly starts: Uint32Array
  /** Ids of tokens that write something, ascending by their bytes. */
  readonly order: Uint32Array
  /** How many bytes each token of `order` has in common with the one before. */
  readonly shared: Uint16Array

  /**
   * `tokens` holds what each id writes; ids without text of their own (control tokens, gaps) write nothing.
   * `strippedSpaces` is how many spaces at the very start of an answer are no part of its text.
   */
  constructor(
    tokens: readonly Uint8Array[],
    readonly strippedSpaces = 0,
  ) {
    this.starts = new Uint32Array(tokens.length + 1)
    for (const [id, { length }] of tokens.entries()) this.starts[id + 1] = this.starts[id] + length
    this.bytes = new Uint8Array(this.starts[tokens.length])
    for (const [id, token] of tokens.entries()) this.bytes.set(token, this.starts[id])
    // As characters of one byte each, because an engine sorts strings much faster than arrays.
    const texts = tokens.map((token) => token.reduce((text, byte) => text + String.fromCharCode(byte), ''))
    const ids = [...texts.keys()].filter((id) => texts[id] !== '')
    this.order = Uint32Array.from(ids.sort((a, b) => (texts[a] < texts[b] ? -1 : Number(texts[a] > texts[b]))))
    this.shared = Uint16Array.from(this.order, (id, n) => (n === 0 ? 0 : commonLength(texts[this.order[n - 1]], texts[id])))
  }

  /** What a token writes; nothing for an id without text. */
  of(id: number): Uint8Array {
    return this.bytes.subarray(this.starts[id], this.starts[id + 1])
  }
}

function commonLength(a: string, b: string): number {
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  return n
}
