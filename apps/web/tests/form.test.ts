import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { Automaton } from '../src/form/automaton'
import { type Refusal, REFUSALS } from '../src/form/pattern'
import { Reader } from '../src/form/reader'
import { RegexConstraint, RegexForm } from '../src/form/regex'
import { Vocabulary } from '../src/form/vocabulary'

interface Vectors {
  readonly cases: readonly { pattern: string; matches: string[]; open: string[]; dead: string[] }[]
  readonly refused: readonly { pattern: string; kind: Refusal }[]
  readonly tokens: {
    readonly pieces: readonly string[]
    readonly cases: readonly { pattern: string; after: number[]; allowed: number[]; end: boolean }[]
  }
}

function readText(automaton: Automaton, text: string): 'matches' | 'open' | 'dead' {
  const reader = new Reader(automaton)
  const isRead = new TextEncoder().encode(text).every((byte) => reader.read(byte))
  return isRead ? (reader.isMatch ? 'matches' : 'open') : 'dead'
}

const LONGEST = 60_000 // milliseconds; the largest pattern reads 10,000 characters, each from 10,000 places at once

/** The cases of all languages, which tests/apps_web names. */
const file = process.env.FORM_CASES
describe.skipIf(!file)('A regular expression as in every language', () => {
  const { cases, refused, tokens } = (file ? JSON.parse(readFileSync(file, 'utf8')) : { cases: [], refused: [] }) as Vectors

  it.each(cases)('reads $pattern', { timeout: LONGEST }, ({ pattern, ...texts }) => {
    const automaton = new Automaton(pattern)
    for (const kind of ['matches', 'open', 'dead'] as const) {
      for (const text of texts[kind]) expect(readText(automaton, text), JSON.stringify(text)).toBe(kind)
    }
  })

  it.each(refused)('is refused ($kind): $pattern', ({ pattern, kind }) => {
    expect(() => new Automaton(pattern)).toThrow(REFUSALS[kind])
  })

  it.each(tokens?.cases ?? [])('allows the tokens of $pattern after $after', ({ pattern, after, allowed, end }) => {
    const pieces = tokens.pieces.map((hex) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16)))
    const constraint = new RegexConstraint(new RegexForm(pattern, new Vocabulary(pieces), []))
    for (const id of after) constraint.append(id)
    expect([...constraint.allowed()].sort((a, b) => a - b)).toEqual(allowed)
    expect(constraint.mayEnd).toBe(end)
  })
})
