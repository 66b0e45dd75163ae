import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { judgeStage, parseLimits, type Recorded, type Stage, TieJudge } from '../src/bundle/golden'

type Numbers = readonly (number | null)[]

interface Case {
  readonly name: string
  readonly limits: string
  readonly computed: { readonly pixel_values: Numbers; readonly image_features: Numbers; readonly logits: readonly Numbers[] }
  readonly checks: Readonly<Record<string, number | null>>
  readonly failing: readonly string[]
}

interface Cases {
  readonly golden: Readonly<Record<Stage | 'generated_ids', number[]>>
  readonly damaged_limits: readonly string[]
  readonly cases: readonly Case[]
}

/** tests/support/golden_cases.json: what a device computed, and the verdict that every language must come to. */
const path = process.env.GOLDEN_CASES
describe.skipIf(!path)('The golden rule', () => {
  const { golden, damaged_limits, cases } = (path ? JSON.parse(readFileSync(path, 'utf8')) : { damaged_limits: [], cases: [] }) as Cases
  const floats = (values: Numbers) => Float32Array.from(values, (value) => value ?? NaN)

  it.each(cases)('judges: $name', ({ limits, computed, checks, failing }) => {
    const recorded: Recorded = {
      pixel_values: floats(golden.pixel_values),
      image_features: floats(golden.image_features),
      prefill_logits: floats(golden.prefill_logits),
      generated_ids: golden.generated_ids,
      limits: parseLimits(limits),
    }
    const ties = new TieJudge(recorded)
    for (const row of computed.logits) ties.add(floats(row))
    const made = [
      ...judgeStage(recorded, 'pixel_values', floats(computed.pixel_values)),
      ...judgeStage(recorded, 'image_features', floats(computed.image_features)),
      ...judgeStage(recorded, 'prefill_logits', floats(computed.logits[0] ?? [])),
      ties.check(),
    ]
    expect(made.map(({ name }) => name)).toEqual(Object.keys(checks))
    for (const { name, value } of made) {
      if (checks[name] === null) expect(value, name).toBe(Infinity)
      else expect(value, name).toBeCloseTo(checks[name] as number, 12)
    }
    expect(made.filter(({ passed }) => !passed).map(({ name }) => name)).toEqual(failing)
  })

  it.each(damaged_limits)('refuses the limits %j', (text) => {
    expect(() => parseLimits(text)).toThrow(/test file has/)
  })

  it('refuses a file without limits', () => {
    expect(() => parseLimits(undefined)).toThrow(/no limits/)
  })
})
