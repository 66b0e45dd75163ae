import { Failure } from 'phantom-edge-web'
import { describe, expect, it } from 'vitest'

import { parseConfig } from '../src/config'

const right = { title: 'T', presets: ['Q?'], longestAnswer: 8 }
const withPreset = (preset: object) => ({ ...right, presets: ['Q?', { question: 'Which?', ...preset }] })

describe('parseConfig', () => {
  it('reads the settings', () => {
    expect(parseConfig(right)).toEqual({ ...right, presets: [{ question: 'Q?' }], leastConfidence: 0.5 })
  })

  it('reads the forms of answers, and how likely one must be', () => {
    const choices = ['red', 'blue']
    const { presets, leastConfidence } = parseConfig({ ...withPreset({ choices }), leastConfidence: 0.8 })
    expect(presets[1]).toEqual({ question: 'Which?', form: { choices } })
    expect(leastConfidence).toBe(0.8)
    expect(parseConfig(withPreset({ regex: '\\d{1,3}' })).presets[1]?.form).toEqual({ regex: '\\d{1,3}' })
  })

  it.each([
    [{ ...right, title: '' }, /title/],
    [{ ...right, presets: [] }, /presets/],
    [{ ...right, presets: 'a' }, /presets/],
    [{ ...right, presets: ['a', ''] }, /presets: question 2/],
    [{ ...right, presets: [['a']] }, /presets: question 1/],
    [{ ...right, presets: [{ choices: ['a'] }] }, /presets: question 1 must be text/],
    [{ ...right, longestAnswer: 0 }, /longestAnswer/],
    [{ ...right, leastConfidence: 1.5 }, /leastConfidence/],
    [{ ...right, leastConfidence: '0.5' }, /leastConfidence/],
    [withPreset({ choice: ['a'] }), /question 2 has "choice"/],
    [withPreset({ choices: 'a' }), /question 2: Its choices must be a list/],
    [withPreset({ choices: [] }), /question 2: There are 0 choices: give 1 to 1000\.$/],
    [withPreset({ choices: Array.from({ length: 1001 }, (_, n) => `${n}`) }), /1001 choices/],
    [withPreset({ choices: ['a', 7] }), /Choice 2 must be text/],
    [withPreset({ choices: ['a', ''] }), /Choice 2 must be text/],
    [withPreset({ choices: ['é'.repeat(201)] }), /Choice 1 must be text of 1 to 200/],
    [withPreset({ choices: ['a\ud800'] }), /Choice 1 must be text/],
    [withPreset({ choices: ['a', 'b', 'a'] }), /Choice 3 is there twice/],
    [withPreset({ choices: ['a'], regex: 'a' }), /choices and a regex/],
    [withPreset({ regex: 7 }), /Its regex must be text/],
    [withPreset({ regex: 'a*?' }), /question 2: The regular expression has a lazy quantifier/],
    [withPreset({ regex: '(a{1000}){1000}' }), /too large/],
    [null, /title/],
  ])('refuses %j in one line', (json, message) => {
    expect(() => parseConfig(json)).toThrow(message)
    try {
      parseConfig(json)
    } catch (error) {
      expect(error).toBeInstanceOf(Failure)
      expect((error as Failure).message).toMatch(/^[^\n]{1,300}$/)
    }
  })
})
