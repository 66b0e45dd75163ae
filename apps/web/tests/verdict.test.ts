import type { Answer } from 'phantom-edge-web'
import { expect, it } from 'vitest'

import { spoken, verdictOf } from '../src/verdict'

const timing = { preprocess: 0, vision: 0, look: 0, firstToken: 1, tokens: 1, tokensPerSecond: 0 }
const answer: Answer = { ...timing, text: 'red', ids: [1], tile: 1, imageTokens: 1, stop: 'end' }
const ranked = (probability: number): Answer => ({
  ...answer,
  likelihoods: [
    { text: 'red', probability },
    { text: 'blue', probability: 1 - probability },
  ],
})

const free = (confidence: number | null, text = 'red'): Answer => ({ ...answer, text, confidence })

it.each([
  [answer, 'red', '', true],
  [{ ...answer, text: '' }, '', '', true],
  [{ ...answer, text: ' ', stop: 'length' as const }, '', '', true],
  [free(null), 'red', '', true],
  [free(0.5), 'red', '', true],
  [free(0.31), 'Not sure', 'perhaps red, 31 %', false],
  [free(0.001), 'Not sure', 'perhaps red, under 1 %', false],
  [free(0.2, ''), '', '', true],
  [{ ...answer, stop: 'length' as const }, 'red …', '', true],
  [ranked(0.5), 'red', '50 % sure', true],
  [ranked(0.996), 'red', 'over 99 % sure', true],
  [ranked(1), 'red', '100 % sure', true],
  [ranked(0.4999), 'Not sure', 'perhaps red, 50 %', false],
  [ranked(0.004), 'Not sure', 'perhaps red, under 1 %', false],
])('says what the model is sure of', (given, text, note, isSure) => {
  expect(verdictOf(given, 0.5)).toEqual({ text, answer: given.text.trim(), note, isSure })
})

it('says it to a screen reader too', () => {
  expect(spoken(verdictOf(ranked(0.4), 0.5))).toBe('Not sure, perhaps red, 40 %')
  expect(spoken(verdictOf(ranked(0.8), 0.5))).toBe('red, 80 % sure')
  expect(spoken(verdictOf({ ...answer, text: '' }, 0.5))).toBe('No answer')
})
