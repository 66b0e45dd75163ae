/** What an answer may be. Everything else in this folder is loaded when the first question with a form is asked. */

import { Failure } from '../failure'

export const MOST_CHOICES = 1000
export const LONGEST_CHOICE = 200

/** One of some texts, or a text that a regular expression matches as a whole. */
export type Form = { readonly choices: readonly string[] } | { readonly regex: string }

/** A choice with the probability that it is the answer, given that one of the choices is. */
export interface Likelihood {
  readonly text: string
  readonly probability: number
}

/** @throws {Failure} `prompt` unless these are 1 to 1,000 different texts of 1 to 200 characters. */
export function checkChoices(choices: readonly unknown[]): asserts choices is readonly string[] {
  if (choices.length < 1 || choices.length > MOST_CHOICES) {
    throw new Failure('prompt', `There are ${choices.length} choices: give 1 to ${MOST_CHOICES}.`)
  }
  const odd = choices.findIndex((choice) => typeof choice !== 'string' || !isChoice(choice))
  if (odd >= 0) throw new Failure('prompt', `Choice ${odd + 1} must be text of 1 to ${LONGEST_CHOICE} characters.`)
  const again = choices.findIndex((choice, n) => choices.indexOf(choice) < n)
  if (again >= 0) throw new Failure('prompt', `Choice ${again + 1} is there twice.`)
}

function isChoice(text: string): boolean {
  return text !== '' && Array.from(text).length <= LONGEST_CHOICE && !/\p{Surrogate}/u.test(text) // half a character
}
