import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { Confidence } from '../src/model/confidence'

interface Case {
  readonly name: string
  readonly tokens: readonly number[]
  readonly ends: readonly number[]
  readonly rows: readonly (readonly number[])[]
  readonly confidence: number | null
}

/** tests/support/confidence_vectors.json: what every language must come to. */
const file = process.env.CONFIDENCE_CASES
const cases = (file ? JSON.parse(readFileSync(file, 'utf8')) : []) as Case[]

describe.skipIf(!file)('Confidence', () => {
  it.each(cases)('is that of every language: $name', ({ tokens, ends, rows, confidence }) => {
    const logits = rows.map((row) => Float32Array.from(row))
    const answer = new Confidence(ends)
    for (const [n, token] of tokens.entries()) answer.add(logits[n]!, token)
    const value = answer.ended(logits[tokens.length] ?? null)
    if (confidence === null || value === null) expect(value).toBe(confidence)
    else {
      expect(Math.abs(value - confidence)).toBeLessThanOrEqual(1e-12 + 2e-5 * confidence)
      expect(value).toBeLessThanOrEqual(1)
    }
  })
})
