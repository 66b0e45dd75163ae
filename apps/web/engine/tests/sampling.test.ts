import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { Failure } from '../src/failure'
import { chooser, Likeliest, nucleus } from '../src/model/choosing'
import { SplitMix64 } from '../src/model/random'
import { checkSampling, GREEDY } from '../src/model/sampling'

interface Case {
  readonly temperature: number
  readonly top_p: number
  readonly seed: number
  readonly logits: readonly number[]
  readonly top_k: number
  readonly ids: readonly number[]
  readonly probabilities: readonly number[]
  readonly draws: readonly number[]
  readonly greedy: number
}

const file = process.env.SAMPLING_CASES
describe.skipIf(!file)('Sampling', () => {
  const { cases, splitmix } = (file ? JSON.parse(readFileSync(file, 'utf8')) : { cases: [], splitmix: {} }) as {
    cases: Case[]
    splitmix: Record<string, string[]>
  }

  it.each(cases.map((one) => [one.temperature, one.top_p, one.top_k, one] as const))(
    'at temperature %d, top-p %d and top-k %d draws as in every language',
    (temperature, topP, topK, { seed, logits, ids, probabilities, draws, greedy }) => {
      const values = Float32Array.from(logits)
      const kept = nucleus(new Likeliest(values, temperature), topP, topK)
      expect(kept.map(({ id }) => id)).toEqual(ids)
      const total = kept.reduce((sum, { weight }) => sum + weight, 0)
      for (const [n, { weight }] of kept.entries()) expect(weight / total).toBeCloseTo(probabilities[n] as number, 12)
      const choose = chooser({ temperature, topP, topK, seed })
      expect(draws.map(() => choose(values))).toEqual(draws)
      expect(chooser(GREEDY)(values)).toBe(greedy)
    },
  )

  it('has the generator whose numbers are as in every language', () => {
    for (const [seed, values] of Object.entries(splitmix)) {
      const random = new SplitMix64(BigInt(seed))
      expect(values.map(() => String(random.next()))).toEqual(values)
    }
  })
})

describe('What may be drawn', () => {
  const logits = Float32Array.of(0, 3, 1, 3, 2)
  const ids = (topP: number, topK: number) => nucleus(new Likeliest(logits, 1), topP, topK).map(({ id }) => id)

  it('is the likeliest tokens, the first of equals first', () => {
    expect(ids(1, 0)).toEqual([1, 3, 4, 2, 0])
    expect(ids(1, 3)).toEqual([1, 3, 4])
    expect(ids(0.5, 0)).toEqual([1, 3]) // 0.40 each
    expect(ids(0.5, 1)).toEqual([1])
    expect(ids(0.9, 9)).toEqual([1, 3, 4])
  })

  it('is drawn as likely as it is, and never beside it', () => {
    const choose = chooser({ temperature: 1, topP: 1, topK: 2, seed: 3 })
    const draws = Array.from({ length: 2000 }, () => choose(logits))
    expect(new Set(draws)).toEqual(new Set([1, 3]))
    expect(draws.filter((id) => id === 1).length / 2000).toBeCloseTo(0.5, 1)
  })

  it('is the same again from the same seed, and another without one', () => {
    const flat = new Float32Array(1000)
    const draw = (seed: number | null) => {
      const choose = chooser({ temperature: 2, topP: 0.9, topK: 0, seed })
      return Array.from({ length: 5 }, () => choose(flat))
    }
    expect(draw(5)).toEqual(draw(5))
    expect(draw(6)).not.toEqual(draw(5))
    expect(draw(null)).not.toEqual(draw(null))
  })

  it('is nothing where numbers are not finite', () => {
    expect(() => chooser({ temperature: 1, topP: 1, topK: 0, seed: 0 })(Float32Array.of(1, Number.NaN))).toThrow(/not finite/)
  })
})

describe('checkSampling', () => {
  it('fills in what is usual', () => {
    expect(checkSampling({})).toEqual(GREEDY)
    expect(checkSampling({ temperature: 0.7, topK: 40, seed: null })).toEqual({ temperature: 0.7, topP: 1, topK: 40, seed: null })
  })

  it.each([
    [null, /must be an object/],
    [{ temperature: -1 }, /temperature must be 0/],
    [{ temperature: 0.0001 }, /temperature must be 0/],
    [{ temperature: '1' }, /temperature must be 0/],
    [{ topP: 0 }, /topP/],
    [{ topP: 1.1 }, /topP/],
    [{ topK: 1.5 }, /topK/],
    [{ topK: -1 }, /topK/],
    [{ seed: -1 }, /seed/],
    [{ seed: 2 ** 60 }, /seed/],
    [{ top_p: 1 }, /has "top_p": it may have temperature, topP, topK, seed/],
  ])('refuses %j in one line', (given, message) => {
    expect(() => checkSampling(given)).toThrow(message)
    expect(() => checkSampling(given)).toThrow(Failure)
  })
})
