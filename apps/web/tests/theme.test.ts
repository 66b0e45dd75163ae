import { expect, it } from 'vitest'

import { contrast, inkOn, readableAccent } from '../src/theme'

const steps = ['00', '33', '80', 'cc', 'ff']
const colours = steps.flatMap((r) => steps.flatMap((g) => steps.map((b) => `#${r}${g}${b}`)))

it('any accent is readable on the page, and what is written on it', () => {
  for (const accent of colours) {
    for (const [ground, panel] of [['light', '#e6ebf1'], ['light', '#ffffff'], ['dark', '#1d2631'], ['dark', '#131a22']] as const) {
      const readable = readableAccent(accent, ground)
      expect(contrast(readable, panel), `${accent} on ${ground}`).toBeGreaterThanOrEqual(4.5)
      expect(contrast(readable, inkOn(readable))).toBeGreaterThanOrEqual(4.5)
    }
  }
})

it('leaves a colour that is readable as it is', () => {
  expect(readableAccent('#5ee0b7', 'dark')).toBe('#5ee0b7')
  expect(readableAccent('#0a6b50', 'light')).toBe('#0a6b50')
})

it('has the contrast of the standard', () => {
  expect(contrast('#000000', '#ffffff')).toBeCloseTo(21)
  expect(contrast('#777777', '#ffffff')).toBeCloseTo(4.48, 2)
})
