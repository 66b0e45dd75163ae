/** How an answer's tokens are chosen: always the likeliest, or drawn by temperature, top-p and top-k. */

import { Failure } from '../failure'

/** `temperature` 0 takes the likeliest token, and the rest counts for nothing. */
export interface Sampling {
  readonly temperature: number
  /** Keeps the smallest set of tokens with at least that probability (nucleus sampling, arXiv 1904.09751); 1 keeps all. */
  readonly topP: number
  /** Keeps so many of the likeliest tokens; 0 keeps all. */
  readonly topK: number
  /** The same seed gives the same answer to the same question; null draws one for each answer. */
  readonly seed: number | null
}

export const GREEDY: Sampling = { temperature: 0, topP: 1, topK: 0, seed: 0 }
const LEAST_TEMPERATURE = 0.001 // below, the likeliest token has all the weight
const MOST_TEMPERATURE = 100

/** What was given, with the usual values where nothing was. @throws {Failure} `prompt` for what makes no distribution. */
export function checkSampling(given: unknown): Sampling {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw wrong('It must be an object')
  const odd = Object.keys(given).find((key) => !(key in GREEDY))
  if (odd !== undefined) throw wrong(`It has ${JSON.stringify(odd.slice(0, 40))}: it may have ${Object.keys(GREEDY).join(', ')}`)
  const { temperature, topP, topK, seed } = { ...GREEDY, ...given }
  if (temperature !== 0 && !(temperature >= LEAST_TEMPERATURE && temperature <= MOST_TEMPERATURE)) {
    throw wrong(`temperature must be 0 (the likeliest), or ${LEAST_TEMPERATURE} to ${MOST_TEMPERATURE}`)
  }
  if (!(typeof topP === 'number' && topP > 0 && topP <= 1)) throw wrong('topP must be more than 0 and at most 1')
  if (!(Number.isInteger(topK) && topK >= 0)) throw wrong('topK must be a whole number, 0 for all')
  if (seed !== null && !(Number.isSafeInteger(seed) && seed >= 0)) throw wrong('seed must be a whole number from 0, or null')
  return { temperature, topP, topK, seed }
}

function wrong(reason: string): Failure {
  return new Failure('prompt', `${reason}.`)
}
