import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { Automaton } from '../src/form/automaton'
import { ChoiceConstraint, ChoiceTree } from '../src/form/choices'
import { type Refusal, REFUSALS } from '../src/form/pattern'
import { Reader } from '../src/form/reader'
import { RegexConstraint, RegexForm } from '../src/form/regex'
import { Vocabulary } from '../src/form/vocabulary'
import type { Decoded } from '../src/model/decoding'
import type { Cache, Graphs } from '../src/model/graphs'

interface Vectors {
  readonly cases: readonly { pattern: string; matches: string[]; open: string[]; dead: string[] }[]
  readonly refused: readonly { pattern: string; kind: Refusal }[]
  readonly tokens: {
    readonly pieces: readonly string[]
    readonly cases: readonly { pattern: string; after: number[]; allowed: number[]; end: boolean }[]
  }
  readonly choices: readonly MadeUp[]
}

/** A made-up model, whose logits go by the tokens of the answer so far, and what comes out of it. */
interface MadeUp {
  readonly ids: readonly number[][]
  readonly end_ids: readonly number[]
  readonly logits: Readonly<Record<string, readonly number[]>>
  readonly probabilities: readonly number[]
  readonly greedy: number
}

/** The model's state after some tokens; its cache is their list. */
function decoded({ logits }: MadeUp, ids: readonly number[]): Decoded {
  const cache = { length: ids.length, tensors: {}, ids } as Cache
  return { logits: Float32Array.from(logits[ids.join()] ?? []), cache }
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
  const vectors = file ? JSON.parse(readFileSync(file, 'utf8')) : { cases: [], refused: [] }
  const { cases, refused, tokens, choices } = vectors as Vectors

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

  it.each(choices ?? [])('ranks choices, and takes one step by step, %#', async (model) => {
    const texts = model.ids.map((_, n) => `choice ${n}`)
    const tree = new ChoiceTree(texts, model.ids, model.end_ids)
    const graphs = {
      embed: async (ids: number[]) => ids,
      decode: async (ids: number[], cache: Cache & { ids: number[] }) => decoded(model, [...cache.ids, ...ids]),
      free: () => undefined,
    }
    const ranking = await tree.rank(graphs as unknown as Graphs, decoded(model, []), async () => true)
    for (const { text, probability } of ranking) {
      expect(probability).toBeCloseTo(model.probabilities[texts.indexOf(text)] as number, 6)
    }
    expect(ranking).toHaveLength(texts.length)
    const constraint = new ChoiceConstraint(tree)
    const path: number[] = []
    for (let id = constraint.choose(decoded(model, []).logits); !model.end_ids.includes(id); ) {
      path.push(id)
      constraint.append(id)
      id = constraint.choose(decoded(model, path).logits)
    }
    expect(path).toEqual(model.ids[model.greedy])
  })
})
