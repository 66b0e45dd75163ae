import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { parseManifest } from '../src/bundle/manifest'
import { tokenDecoder } from '../src/form/token_bytes'
import { answerIds, buildPrompt } from '../src/model/prompt'
import { Tokenizer } from '../src/model/tokenizer'
import { byteTokenizer, changed } from './helpers'

describe('Tokenizer', () => {
  const tokenizer = Tokenizer.fromJson(byteTokenizer())

  it('gives special tokens one id each and text its bytes', () => {
    expect(tokenizer.encode('<|im_start|>ab<|im_end|>')).toEqual([256, 97, 98, 257])
  })

  it('leaves special tokens out of an answer', () => {
    expect(tokenizer.decode([104, 105, 257])).toBe('hi')
  })

  it('gives no text for no ids', () => {
    expect(tokenizer.decode([])).toBe('')
  })

  it('holds a character back until all its bytes are there', () => {
    const euro = [...new TextEncoder().encode('5 €')]
    const growing = euro.map((_, n) => tokenizer.decodeSoFar(euro.slice(0, n + 1)))
    expect(growing).toEqual(['5', '5 ', '5 ', '5 ', '5 €'])
  })

  it('keeps a space before punctuation: nothing is cleaned up', () => {
    const text = "it 's 5 % , or not ?"
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
  })

  it('takes an unknown character for no control token, its name for one, and what the normaliser makes too', () => {
    const made = byteTokenizer() as Record<string, unknown> & { model: Record<string, unknown> }
    const added = made.added_tokens as { id: number; content: string; normalized: boolean }[]
    added.push({ ...added[0]!, id: 261, content: '<unk>' }, { ...added[0]!, id: 262, content: '<caf\u00e9>', normalized: true })
    const model = { ...made.model, unk_token: '<unk>', vocab: { ...(made.model.vocab as object) } as Record<string, number> }
    delete model.vocab['~']
    const tokenizer = Tokenizer.fromJson({ ...made, normalizer: { type: 'NFC' }, model })
    const manifest = parseManifest(changed({}))
    expect(tokenizer.encode('~')).toEqual([261])
    expect(buildPrompt(manifest, tokenizer, 'a ~ b').ids).toContain(261)
    expect(() => buildPrompt(manifest, tokenizer, 'a <unk> b')).toThrow('A question cannot contain <unk>.')
    expect(() => buildPrompt(manifest, tokenizer, 'a <cafe\u0301> b')).toThrow('A question cannot contain <caf\u00e9>.')
  })

  it('refuses what is no tokenizer', () => {
    expect(() => Tokenizer.fromJson({ model: { type: 'Nothing' } })).toThrow(/cannot be read/)
  })
})

interface Family {
  readonly family: string
  readonly json: string
  readonly texts: readonly { readonly text: string; readonly ids: number[]; readonly decoded: string }[]
  readonly manifest: Record<string, unknown>
  readonly prompts: readonly { readonly question: string; readonly ids: number[] }[]
  readonly choices: readonly { readonly text: string; readonly ids: number[] }[]
  /** What each id writes, in hex, and how many spaces at the start of an answer are no part of it. */
  readonly bytes: readonly string[]
  readonly strippedSpaces: number
  readonly control: readonly string[]
}

/** Written by tests/apps_web: what phantom_edge's tokenizers make of texts, and of the prompts about a picture. */
const cases = process.env.TOKENIZER_CASES
describe.skipIf(!cases)('Tokenizer and Python', () => {
  const families: Family[] = cases ? JSON.parse(readFileSync(cases, 'utf8')) : []
  const open = (json: string) => Tokenizer.fromJson(JSON.parse(readFileSync(json, 'utf8')))

  it.each(families)('agree on every text: $family', ({ json, texts }) => {
    const tokenizer = open(json)
    for (const { text, ids, decoded } of texts) {
      expect(tokenizer.encode(text), text).toEqual(ids)
      expect(tokenizer.decode(ids), text).toBe(decoded)
    }
  })

  it.each(families)('agree on every prompt, which begins with the same ids up to the question: $family', (family) => {
    const manifest = parseManifest(changed(family.manifest))
    const tokenizer = open(family.json)
    const made = family.prompts.map(({ question }) => buildPrompt(manifest, tokenizer, question))
    expect(made.map(({ ids }) => ids)).toEqual(family.prompts.map(({ ids }) => ids))
    const looks = new Set(made.map(({ ids, prefix }) => ids.slice(0, prefix).join()))
    expect(looks.size).toBe(1) // so one look serves all questions
  })

  it.each(families)('agree on the tokens of choices: $family', ({ json, manifest, choices }) => {
    const tokenizer = open(json)
    for (const { text, ids } of choices) expect(answerIds(parseManifest(changed(manifest)), tokenizer, text), text).toEqual(ids)
  })

  it.each(families)('agree on what each token writes: $family', ({ json, bytes, strippedSpaces }) => {
    const tokenizer = open(json)
    const decoder = tokenDecoder(tokenizer.decoder)
    const written = bytes.map((_, id) => decoder.bytesOf(tokenizer.token(id) ?? ''))
    expect(written.map((token) => Buffer.from(token).toString('hex'))).toEqual(bytes)
    expect(decoder.strippedSpaces).toBe(strippedSpaces)
  })

  it.each(families)('agree on the tokens that no question may hold: $family', ({ json, manifest, control }) => {
    const tokenizer = open(json)
    expect([...tokenizer.controlTokens.values()]).toEqual(control)
    for (const token of control) {
      const ask = () => buildPrompt(parseManifest(changed(manifest)), tokenizer, `Is ${token}it red?`)
      expect(ask, token).toThrow(`A question cannot contain ${token}.`)
    }
  })
})
