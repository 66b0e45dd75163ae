/** app.json: what a user of the toolkit may change without building the app again. */

import { Failure } from './failure'

export interface AppConfig {
  readonly title: string
  /** Questions to choose from; the app starts with the first. */
  readonly presets: readonly string[]
  /** Most tokens of an answer. */
  readonly longestAnswer: number
}

const MOST_PRESETS = 12

/** @throws {Failure} `manifest`, naming what is wrong in app.json. */
export function parseConfig(json: unknown): AppConfig {
  const { title, presets, longestAnswer } = (json ?? {}) as Record<string, unknown>
  if (typeof title !== 'string' || title === '') throw wrong('title must be text')
  const texts = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((item) => typeof item === 'string' && item.trim() !== '')
  if (!texts(presets) || presets.length < 1 || presets.length > MOST_PRESETS) {
    throw wrong(`presets must be 1 to ${MOST_PRESETS} questions`)
  }
  if (!Number.isInteger(longestAnswer) || (longestAnswer as number) < 1) throw wrong('longestAnswer must be a number')
  return { title, presets, longestAnswer: longestAnswer as number }
}

export async function loadConfig(): Promise<AppConfig> {
  let json: unknown
  try {
    json = await (await fetch('./app.json', { cache: 'no-cache' })).json()
  } catch {
    throw wrong('it cannot be loaded')
  }
  return parseConfig(json)
}

function wrong(reason: string): Failure {
  return new Failure('manifest', `The app's settings (app.json) are not right: ${reason}.`)
}
