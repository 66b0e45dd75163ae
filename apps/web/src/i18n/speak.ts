/** The page in the language of its address, its user or their browser. */

import { chooseLanguage } from './choose'
import { type Language, type Overrides, translate, useLanguage } from './text'

const ADDRESS = 'lang' // as in ?lang=de

export interface Speech {
  readonly languages: readonly Language[]
  readonly strings: Overrides
}

/**
 * Shows the page in the language of the address, else the one that was chosen, else the browser's. Returns what the
 * address says and the app does not speak, else null.
 */
export function speak({ languages, strings }: Speech, chosen: string | null): string | null {
  const address = new URLSearchParams(location.search).get(ADDRESS)
  const { language, missing } = chooseLanguage(languages, address, chosen, navigator.languages)
  useLanguage(language, strings)
  translate(document)
  return missing
}

/** Forgets what the address says, for the user says otherwise now. */
export function forgetAddress(): void {
  const url = new URL(location.href)
  if (!url.searchParams.has(ADDRESS)) return
  url.searchParams.delete(ADDRESS)
  history.replaceState(history.state, '', url)
}
