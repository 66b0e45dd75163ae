/** app.json: what a user of the toolkit may change without building the app again. The build reads it by the same code. */

import { checkChoices, checkSampling, Failure, type Form, GREEDY, parsePattern, type Sampling } from 'phantom-edge-web/checks'

import { en, type Key } from './i18n/en'
import { type Language, LANGUAGES, type Overrides } from './i18n/text'
import type { Scheme } from './preferences'

export interface AppConfig {
  readonly title: string
  /** Questions to choose from; the app starts with the first. */
  readonly presets: readonly Preset[]
  /** Most tokens of an answer. */
  readonly longestAnswer: number
  /** The least probability of an answer out of a list: below it the app says that it is not sure. */
  readonly leastConfidence: number
  /** The languages that a user may choose from. */
  readonly languages: readonly Language[]
  /** Texts instead of the app's own, by language. */
  readonly strings: Overrides
  readonly theme: Theme
  /** The size that a square around the pin begins with, in parts of the picture's shorter side. */
  readonly crop: number
  readonly sampling: Sampling
}

export interface Theme {
  /** `#rrggbb`; null for the style sheet's own. */
  readonly accent: string | null
  /** What holds until the user chooses. */
  readonly scheme: Scheme
}

/** A question, and what its answer may be: anything, or one of a list, or what a regular expression matches. */
export interface Preset {
  readonly question: string
  readonly form?: Form
  /** What is shown instead of the question: in every language, or by language. */
  readonly label?: string | Readonly<Partial<Record<Language, string>>>
}

type Json = Readonly<Record<string, unknown>>

const KEYS = ['title', 'presets', 'longestAnswer', 'leastConfidence', 'languages', 'strings', 'theme', 'crop', 'sampling']
const MOST_PRESETS = 12
const LEAST_CONFIDENCE = 0.5
const PRESET_KEYS = ['question', 'choices', 'regex', 'label']
const CROP = { usual: 0.4, least: 0.1, most: 1 }
const SCHEMES: readonly unknown[] = ['auto', 'light', 'dark'] satisfies Scheme[]
const LONGEST_TEXT = 500 // characters of one of the app's texts

/** @throws {Failure} `manifest`, naming what is wrong in app.json. */
export function parseConfig(json: unknown): AppConfig {
  const values = fields(json ?? {}, 'it', KEYS)
  const { title, presets, longestAnswer, leastConfidence = LEAST_CONFIDENCE, crop = CROP.usual, sampling = GREEDY } = values
  if (typeof title !== 'string' || title === '') throw wrongSettings('title must be text')
  if (!Array.isArray(presets) || presets.length < 1 || presets.length > MOST_PRESETS) {
    throw wrongSettings(`presets must be 1 to ${MOST_PRESETS} questions`)
  }
  if (!Number.isInteger(longestAnswer) || (longestAnswer as number) < 1) {
    throw wrongSettings('longestAnswer must be a number')
  }
  return {
    title,
    presets: presets.map(parsePreset),
    longestAnswer: longestAnswer as number,
    leastConfidence: parseNumber(leastConfidence, 'leastConfidence', 0, 1),
    languages: parseLanguages(values.languages),
    strings: parseStrings(values.strings),
    theme: parseTheme(values.theme),
    crop: parseNumber(crop, 'crop', CROP.least, CROP.most),
    sampling: explained('sampling', () => checkSampling(sampling)),
  }
}

/** What the page shows of a preset in a language: its label, else the question itself. */
export function shownQuestion({ question, label }: Preset, language: Language): string {
  return (typeof label === 'object' ? label[language] : label) ?? question
}

/** A question is text, or an object of the question, the form of its answer, and what is shown of it. */
function parsePreset(json: unknown, n: number): Preset {
  const where = `presets: question ${n + 1}`
  const isObject = typeof json === 'object' && json !== null && !Array.isArray(json)
  const { question, choices, regex, label } = (isObject ? json : { question: json }) as Json
  if (typeof question !== 'string' || question.trim() === '') throw wrongSettings(`${where} must be text`)
  if (isObject) fields(json, where, PRESET_KEYS)
  if (choices !== undefined && regex !== undefined) throw wrongSettings(`${where} has choices and a regex: give one of them`)
  const form = explained(where, () => parseForm(choices, regex))
  return { question, ...(form ? { form } : {}), ...(label === undefined ? {} : { label: parseLabel(label, where) }) }
}

/** @throws {Failure} for a form that is refused. */
function parseForm(choices: unknown, regex: unknown): Form | null {
  if (choices !== undefined) {
    if (!Array.isArray(choices)) throw new Failure('prompt', 'Its choices must be a list of texts.')
    checkChoices(choices)
    return { choices }
  }
  if (regex === undefined) return null
  if (typeof regex !== 'string') throw new Failure('prompt', 'Its regex must be text.')
  parsePattern(regex)
  return { regex }
}

function parseLabel(label: unknown, where: string): NonNullable<Preset['label']> {
  if (typeof label === 'string') return parseText(label, `${where}: its label`)
  const byLanguage = fields(label, `${where}: its label`, LANGUAGES)
  for (const [language, words] of Object.entries(byLanguage)) parseText(words, `${where}: its label in ${language}`)
  return byLanguage as Record<Language, string>
}

function parseLanguages(languages: unknown): readonly Language[] {
  if (languages === undefined) return LANGUAGES
  if (!Array.isArray(languages) || languages.length === 0) {
    throw wrongSettings(`languages must be a list out of ${LANGUAGES.join(', ')}`)
  }
  const odd = languages.find((language) => !LANGUAGES.includes(language))
  if (odd !== undefined) {
    const way = `take some of ${LANGUAGES.join(', ')}, or add one in src/i18n`
    throw wrongSettings(`languages has ${quoted(odd)}, which this app does not speak: ${way}`)
  }
  if (new Set(languages).size < languages.length) throw wrongSettings('languages has one twice')
  return languages as Language[]
}

/** Texts by language and key, each with the places that the app's own has. */
function parseStrings(strings: unknown): Overrides {
  if (strings === undefined) return {}
  const byLanguage = fields(strings, 'strings', LANGUAGES)
  for (const [language, texts] of Object.entries(byLanguage)) {
    const where = `strings: ${language}`
    for (const [key, words] of Object.entries(fields(texts, where, Object.keys(en)))) {
      const odd = places(parseText(words, `${where}: ${key}`)).find((place) => !places(en[key as Key]).includes(place))
      if (odd !== undefined) throw wrongSettings(`${where}: ${key} has the place ${quoted(odd)}, which is not filled`)
    }
  }
  return byLanguage as Overrides
}

function places(template: string): string[] {
  return template.match(/\{\w+\}/g) ?? []
}

function parseTheme(theme: unknown): Theme {
  const { accent = null, scheme = 'auto' } = fields(theme ?? {}, 'theme', ['accent', 'scheme'])
  if (accent !== null && !(typeof accent === 'string' && /^#[0-9a-f]{6}$/i.test(accent))) {
    throw wrongSettings('theme: accent must be a colour as #rrggbb')
  }
  if (!SCHEMES.includes(scheme)) throw wrongSettings('theme: scheme must be auto, light or dark')
  return { accent: accent as string | null, scheme: scheme as Scheme }
}

function parseText(words: unknown, where: string): string {
  if (typeof words !== 'string' || words.trim() === '' || words.length > LONGEST_TEXT) {
    throw wrongSettings(`${where} must be text of 1 to ${LONGEST_TEXT} characters`)
  }
  return words
}

function parseNumber(value: unknown, name: string, least: number, most: number): number {
  if (typeof value === 'number' && value >= least && value <= most) return value
  throw wrongSettings(`${name} must be a number from ${least} to ${most}`)
}

/** The members of a JSON object, all of them known. */
function fields(json: unknown, where: string, known: readonly string[]): Json {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw wrongSettings(`${where} must be an object`)
  const odd = Object.keys(json).find((key) => !known.includes(key))
  if (odd === undefined) return json as Json
  const few = known.length > 12 ? 'see src/i18n/en.ts' : `it may have ${known.join(', ')}`
  throw wrongSettings(`${where} has ${quoted(odd)}: ${few}`)
}

function quoted(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 40))
}

function explained<T>(where: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw error instanceof Failure ? wrongSettings(`${where}: ${error.message.replace(/\.$/, '')}`) : error
  }
}

/** What app.json is refused with. */
export function wrongSettings(reason: string): Failure {
  return new Failure('manifest', `The app's settings (app.json) are not right: ${reason}.`)
}
