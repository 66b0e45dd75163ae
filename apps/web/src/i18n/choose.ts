/** Which language the app speaks. */

import { type Language, matching } from './text'

export interface LanguageChoice {
  readonly language: Language
  /** What the page's address asked for and the app does not speak. */
  readonly missing: string | null
}

/**
 * The language of the address (`?lang=de`), else what the user chose the last time, else the first of the browser's
 * languages that is offered, else the first that is offered.
 */
export function chooseLanguage(
  offered: readonly Language[],
  address: string | null,
  remembered: string | null,
  browser: readonly string[],
): LanguageChoice {
  const asked = address === null ? null : matching(offered, [address])
  const wishes = remembered === null ? browser : [remembered, ...browser]
  const language = asked ?? matching(offered, wishes) ?? (offered[0] as Language)
  return { language, missing: address !== null && asked === null ? address : null }
}
