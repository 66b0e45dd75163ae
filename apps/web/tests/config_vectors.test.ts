import { readFileSync } from 'node:fs'

import { Failure, type Sampling } from 'phantom-edge-web'
import { describe, expect, it } from 'vitest'

import { parseConfig, shownQuestion } from '../src/config'

interface Expected {
  readonly leastConfidence: number
  readonly crop: number
  readonly accent: readonly number[] | null
  readonly questions: readonly string[]
  readonly shown: readonly string[]
  readonly sampling: Sampling
}

interface Vectors {
  readonly good: readonly { name: string; json: unknown; expected: Expected }[]
  readonly bad: readonly { json: unknown; says: string }[]
}

/** tests/support/app_config_vectors.json: files that all three apps read alike, and files that all three refuse. */
const file = process.env.CONFIG_CASES
const { good, bad } = (file ? JSON.parse(readFileSync(file, 'utf8')) : { good: [], bad: [] }) as Vectors

describe.skipIf(!file)('app.json, as all apps read it', () => {
  it.each(good)('$name', ({ json, expected }) => {
    const { presets, theme, leastConfidence, crop, sampling } = parseConfig(json)
    const accent = theme.accent && [1, 3, 5].map((at) => parseInt(theme.accent!.slice(at, at + 2), 16))
    const questions = presets.map(({ question }) => question)
    const shown = presets.map((preset) => shownQuestion(preset, 'en'))
    expect({ leastConfidence, crop, accent, questions, shown, sampling }).toEqual(expected)
  })

  it.each(bad)('refuses $json', ({ json, says }) => {
    expect(() => parseConfig(json)).toThrow(Failure)
    expect(() => parseConfig(json)).toThrow(says)
  })
})
