/** What the app says of an answer: as it is, or with how sure the model is of it, or that it is not. */

import type { Answer } from 'phantom-edge-web'

import { text as words } from './i18n/text'
import { percent } from './ui/format'

export interface Verdict {
  readonly text: string
  /** The model's own words, which are the text where it is sure of them. */
  readonly answer: string
  /** How sure the model is, in a few words; empty where that is not known. */
  readonly note: string
  /** False for an answer that the model does not hold likely enough. */
  readonly isSure: boolean
}

/** `leastConfidence` is the least probability that counts as an answer: of a choice among the others, of free words among all. */
export function verdictOf({ text, stop, likelihoods, confidence }: Answer, leastConfidence: number): Verdict {
  const answer = text.trim() === '' ? '' : text
  const probability = likelihoods?.[0]?.probability ?? (answer === '' ? null : confidence)
  const part = typeof probability === 'number' ? likelihood(probability) : ''
  if (typeof probability === 'number' && probability < leastConfidence) {
    return { text: words('answer.not-sure'), answer, note: words('answer.perhaps', { answer, part }), isSure: false }
  }
  const isCut = answer !== '' && (stop === 'length' || stop === 'context')
  const note = likelihoods?.length ? words('answer.sure', { part }) : ''
  return { text: isCut ? `${answer} …` : answer, answer, note, isSure: true }
}

/** What a screen reader says. */
export function spoken({ text, note }: Verdict): string {
  return `${text || words('answer.none')}${note && `, ${note}`}`
}

function likelihood(probability: number): string {
  if (probability > 0.99 && probability < 1) return words('answer.over', { part: percent(0.99) })
  if (probability > 0 && probability < 0.01) return words('answer.under', { part: percent(0.01) })
  return percent(probability)
}
