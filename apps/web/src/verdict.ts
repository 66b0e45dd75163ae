/** What the app says of an answer: as it is, or with how sure the model is of it, or that it is not. */

import type { Answer } from 'phantom-edge-web'

import { text as words } from './i18n/text'
import { percent } from './ui/format'

export interface Verdict {
  readonly text: string
  /** How sure the model is, in a few words; empty where that is not known. */
  readonly note: string
  /** False for an answer out of a list that the model does not hold likely enough. */
  readonly isSure: boolean
}

/** `leastConfidence` is the least probability of a choice that counts as an answer. */
export function verdictOf({ text, stop, likelihoods }: Answer, leastConfidence: number): Verdict {
  const best = likelihoods?.[0]
  if (!best) return { text: stop === 'length' ? `${text} …` : text, note: '', isSure: true }
  if (best.probability >= leastConfidence) return { text, note: words('answer.sure', { part: likelihood(best.probability) }), isSure: true }
  const note = words('answer.perhaps', { answer: best.text, part: likelihood(best.probability) })
  return { text: words('answer.not-sure'), note, isSure: false }
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
