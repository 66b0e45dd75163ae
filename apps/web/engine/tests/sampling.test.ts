import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { largest } from '../src/model/decoding'
import { chooser, nucleus, splitMix } from '../src/model/sampling'

interface Case {
  readonly logits: number[]
  readonly temperature: number
  readonly top_p: number
  readonly ids: number[]
  readonly probabilities: number[]
  readonly seed: number
  readonly draws: number[]
  readonly greedy: number
}

interface Vectors {
  readonly sampling: Case[]
  readonly splitmix: Record<string, string[]>
}

// Written by the Python tests (tests/apps_web/test_web_sources.py): the published rule, and what other languages draw.
const file = process.env.SAMPLING_CASES
const { sampling, splitmix }: Vectors = file ? JSON.parse(readFileSync(file, 'utf8')) : { sampling: [], splitmix: {} }

describe.skipIf(!file)('sampling', () => {
  it.each(sampling.map((one, n) => [n, one] as const))('%i draws as in every language', (_, one) => {
    const logits = Float32Array.from(one.logits)
    const { ids, weights } = nucleus(logits, one.temperature, one.top_p)
    expect([...ids]).toEqual(one.ids)
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    weights.forEach((weight, n) => expect(weight / total).toBeCloseTo(one.probabilities[n] as number, 12))
    const choose = chooser({ temperature: one.temperature, topP: one.top_p, seed: one.seed })
    expect(one.draws.map(() => choose(logits))).toEqual(one.draws)
    expect(chooser({ temperature: 0 })(logits)).toBe(one.greedy)
  })

  it.each(Object.entries(splitmix))('the generator from %s', (seed, values) => {
    const next = splitMix(BigInt(seed))
    expect(values.map(() => String(next()))).toEqual(values)
  })
})

it('takes the likeliest without a temperature, and a seed of its own with one', () => {
  expect(chooser()).toBe(largest)
  const even = new Float32Array(1000)
  const drawn = [0, 1].map(() => chooser({ temperature: 1 })).map((choose) => Array.from({ length: 8 }, () => choose(even)).join())
  expect(new Set(drawn).size).toBe(2)
})
