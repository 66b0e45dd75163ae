import { Failure } from 'phantom-edge-web'
import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { parseConfig, shownQuestion } from '../src/config'

const right = { title: 'T', presets: ['Q?'], longestAnswer: 8 }
const withPreset = (preset: object) => ({ ...right, presets: ['Q?', { question: 'Which?', ...preset }] })

describe('parseConfig', () => {
  it('reads the settings', () => {
    expect(parseConfig(right)).toEqual({
      ...right,
      presets: [{ question: 'Q?' }],
      leastConfidence: 0.5,
      languages: ['en', 'de', 'fr'],
      strings: {},
      theme: { accent: null, scheme: 'auto' },
      crop: 0.4,
      sampling: { temperature: 0, topP: 1, topK: 0, seed: 0 },
    })
  })

  it('reads languages, texts, colours, the square and how tokens are chosen', () => {
    const given = {
      languages: ['de', 'en'],
      strings: { de: { 'panel.ask': 'Los' }, en: { 'state.loading': 'Wait: {part}' } },
      theme: { accent: '#AA5500', scheme: 'light' },
      crop: 0.25,
      sampling: { temperature: 0.5, topP: 0.9, topK: 40, seed: 7 },
    }
    expect(parseConfig({ ...right, ...given })).toMatchObject(given)
  })

  it('shows a label instead of a question, in every language or by language', () => {
    const shown = (label: unknown) => {
      const [, preset] = parseConfig(withPreset({ label })).presets
      return preset && (['en', 'de', 'fr'] as const).map((language) => shownQuestion(preset, language))
    }
    expect(shown(undefined)).toEqual(['Which?', 'Which?', 'Which?'])
    expect(shown('Colour')).toEqual(['Colour', 'Colour', 'Colour'])
    expect(shown({ de: 'Farbe' })).toEqual(['Which?', 'Farbe', 'Which?'])
  })

  it('takes the settings that the app comes with, whose questions have a label in every language', () => {
    const { presets, languages } = parseConfig(JSON.parse(readFileSync('public/app.json', 'utf8')))
    for (const preset of presets) {
      for (const language of languages.filter((one) => one !== 'en')) expect(shownQuestion(preset, language)).not.toBe(preset.question)
    }
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
    [[], /it must be an object/],
    [{ ...right, colour: 'red' }, /it has "colour": it may have title, presets, .*sampling/],
    [{ ...right, languages: [] }, /languages must be a list out of en, de, fr/],
    [{ ...right, languages: 'de' }, /languages must be a list/],
    [{ ...right, languages: ['en', 'tlh'] }, /has "tlh", which this app does not speak: take some of en, de, fr, or add one/],
    [{ ...right, languages: ['en', 'x'.repeat(400)] }, /does not speak/],
    [{ ...right, languages: ['en', 'en'] }, /twice/],
    [{ ...right, strings: [] }, /strings must be an object/],
    [{ ...right, strings: { it: {} } }, /strings has "it": it may have en, de, fr/],
    [{ ...right, strings: { de: { 'panel.asks': 'x' } } }, /strings: de has "panel.asks": see src\/i18n\/en.ts/],
    [{ ...right, strings: { de: { 'panel.ask': 7 } } }, /strings: de: panel.ask must be text/],
    [{ ...right, strings: { de: { 'panel.ask': ' ' } } }, /must be text/],
    [{ ...right, strings: { de: { 'panel.ask': 'x'.repeat(501) } } }, /1 to 500/],
    [{ ...right, strings: { de: { 'panel.ask': '{who}' } } }, /has the place "\{who\}", which is not filled/],
    [{ ...right, theme: { accent: 'red' } }, /theme: accent must be a colour as #rrggbb/],
    [{ ...right, theme: { accent: '#fff' } }, /#rrggbb/],
    [{ ...right, theme: { scheme: 'sepia' } }, /theme: scheme must be auto, light or dark/],
    [{ ...right, theme: { accents: '#ffffff' } }, /theme has "accents"/],
    [{ ...right, theme: 'dark' }, /theme must be an object/],
    [{ ...right, crop: 0.05 }, /crop must be a number from 0.1 to 1/],
    [{ ...right, crop: '0.4' }, /crop must be/],
    [{ ...right, sampling: { temperature: -1 } }, /sampling: temperature must be 0/],
    [{ ...right, sampling: { topp: 1 } }, /sampling: It has "topp"/],
    [withPreset({ label: '' }), /question 2: its label must be text/],
    [withPreset({ label: { it: 'x' } }), /question 2: its label has "it"/],
    [withPreset({ label: { de: 7 } }), /question 2: its label in de must be text/],
    [withPreset({ label: 7 }), /question 2: its label must be an object/],
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
