/** app.json: what a user of the toolkit may change without building the app again. The build reads it by the same code. */

import { checkChoices, Failure, type Form, parsePattern } from 'phantom-edge-web/checks'

export interface AppConfig {
  readonly title: string
  /** Questions to choose from; the app starts with the first. */
  readonly presets: readonly Preset[]
  /** Most tokens of an answer. */
  readonly longestAnswer: number
  /** The least probability of an answer out of a list: below it the app says that it is not sure. */
  readonly leastConfidence: number
}

/** A question, and what its answer may be: anything, or one of a list, or what a regular expression matches. */
export interface Preset {
  readonly question: string
  readonly form?: Form
}

const MOST_PRESETS = 12
const LEAST_CONFIDENCE = 0.5
const PRESET_KEYS = ['question', 'choices', 'regex']

/** @throws {Failure} `manifest`, naming what is wrong in app.json. */
export function parseConfig(json: unknown): AppConfig {
  const values = (json ?? {}) as Record<string, unknown>
  const { title, presets, longestAnswer, leastConfidence = LEAST_CONFIDENCE } = values
  if (typeof title !== 'string' || title === '') throw wrongSettings('title must be text')
  if (!Array.isArray(presets) || presets.length < 1 || presets.length > MOST_PRESETS) {
    throw wrongSettings(`presets must be 1 to ${MOST_PRESETS} questions`)
  }
  if (!Number.isInteger(longestAnswer) || (longestAnswer as number) < 1) {
    throw wrongSettings('longestAnswer must be a number')
  }
  if (typeof leastConfidence !== 'number' || !(leastConfidence >= 0 && leastConfidence <= 1)) {
    throw wrongSettings('leastConfidence must be a number from 0 to 1')
  }
  return { title, presets: presets.map(parsePreset), longestAnswer: longestAnswer as number, leastConfidence }
}

/** A question is text, or an object of the question and the form of its answer. */
function parsePreset(json: unknown, n: number): Preset {
  const where = `presets: question ${n + 1}`
  const isObject = typeof json === 'object' && json !== null && !Array.isArray(json)
  const values = (isObject ? json : { question: json }) as Record<string, unknown>
  const { question, choices, regex } = values
  if (typeof question !== 'string' || question.trim() === '') throw wrongSettings(`${where} must be text`)
  const odd = Object.keys(values).find((key) => !PRESET_KEYS.includes(key))
  if (odd !== undefined) {
    throw wrongSettings(`${where} has ${JSON.stringify(odd.slice(0, 40))}: it may have ${PRESET_KEYS.join(', ')}`)
  }
  if (choices !== undefined && regex !== undefined) throw wrongSettings(`${where} has choices and a regex: give one of them`)
  const form = explained(where, () => parseForm(choices, regex))
  return form ? { question, form } : { question }
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
