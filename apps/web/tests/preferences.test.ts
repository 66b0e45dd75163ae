import { afterEach, beforeEach, expect, it, vi } from 'vitest'

import { forgetPreferences, readPreferences, remember } from '../src/preferences'

const stored = new Map<string, string>()
const storage = {
  getItem: (key: string) => stored.get(key) ?? null,
  setItem: (key: string, value: string) => void stored.set(key, value),
  removeItem: (key: string) => void stored.delete(key),
}
const nothing = { tileSize: null, digitKeys: true, language: null, scheme: null, longestAnswer: null, prefix: '' }

beforeEach(() => vi.stubGlobal('localStorage', storage))
afterEach(() => {
  stored.clear()
  vi.unstubAllGlobals()
})

it('keeps each choice, and forgets all', () => {
  expect(readPreferences()).toEqual(nothing)
  remember('tileSize', 336)
  remember('digitKeys', false)
  remember('language', 'fr')
  remember('scheme', 'dark')
  remember('longestAnswer', 128)
  remember('prefix', 'Answer in one word.')
  const chosen = { tileSize: 336, digitKeys: false, language: 'fr', scheme: 'dark', longestAnswer: 128, prefix: 'Answer in one word.' }
  expect(readPreferences()).toEqual(chosen)
  remember('language', null)
  expect(readPreferences()).toEqual({ ...chosen, language: null })
  forgetPreferences()
  expect(readPreferences()).toEqual(nothing)
  expect(stored.size).toBe(0)
})

it('takes what makes no sense, or no storage at all, as nothing chosen', () => {
  for (const [key, value] of [['tile-size', '-1'], ['scheme', 'pink'], ['longest-answer', '1.5'], ['tile-size', 'x']] as const) {
    stored.set(`phantom-edge-${key}`, value)
  }
  expect(readPreferences()).toEqual(nothing)
  vi.stubGlobal('localStorage', undefined)
  remember('scheme', 'light')
  forgetPreferences()
  expect(readPreferences()).toEqual(nothing)
})
