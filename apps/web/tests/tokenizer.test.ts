import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { Tokenizer } from '../src/model/tokenizer'
import { byteTokenizer } from './helpers'

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

  it('refuses what is no tokenizer', () => {
    expect(() => Tokenizer.fromJson({ model: { type: 'Nothing' } })).toThrow(/cannot be read/)
  })
})

/** Written by tests/apps_web: texts with the ids and the decoded text of phantom_edge's tokenizers. */
const cases = process.env.TOKENIZER_CASES
describe.skipIf(!cases)('Tokenizer and Python', () => {
  const families: { family: string; json: string; texts: { text: string; ids: number[]; decoded: string }[] }[] = cases
    ? JSON.parse(readFileSync(cases, 'utf8'))
    : []

  it.each(families)('agree on every text: $family', ({ json, texts }) => {
    const tokenizer = Tokenizer.fromJson(JSON.parse(readFileSync(json, 'utf8')))
    for (const { text, ids, decoded } of texts) {
      expect(tokenizer.encode(text), text).toEqual(ids)
      expect(tokenizer.decode(ids), text).toBe(decoded)
    }
  })
})
