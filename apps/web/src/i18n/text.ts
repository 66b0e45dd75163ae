/**
 * The app in the language in use. `text('stage.camera')` is a text of it; in index.html an element names its text by
 * `data-text`, its label for a screen reader by `data-label`, its placeholder by `data-placeholder`, and `translate` fills
 * them in.
 */

import { de } from './de'
import { en, type Key } from './en'
import { fr } from './fr'

export type { Key } from './en'

/** What stands in the places of a text. */
export type Values = Readonly<Record<string, string | number>>
/** A language's texts. */
export type Texts = Readonly<Record<Key, string>>
/** Texts by language and key that an app has instead of ours. */
export type Overrides = Readonly<Partial<Record<Language, Readonly<Partial<Texts>>>>>

export const TEXTS = { en, de, fr } as const satisfies Record<string, Texts>
export type Language = keyof typeof TEXTS
export const LANGUAGES = Object.keys(TEXTS) as readonly Language[]

let current: Language = 'en'
let texts: Texts = en

/** The language in use. */
export function language(): Language {
  return current
}

/** Uses a language from now on, with an app's own texts; what is on the page already needs {@link translate}. */
export function useLanguage(chosen: Language, overrides: Overrides = {}): void {
  current = chosen
  texts = { ...TEXTS[chosen], ...overrides[chosen] }
}

/** A text of the language in use. `{name}` in it becomes `values.name`; a place without a value stays. */
export function text(key: Key, values: Values = {}): string {
  return texts[key].replaceAll(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place))
}

/** A number as the language in use writes it. */
export function number(value: number, digits = 0): string {
  return value.toLocaleString(current, { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** The first of the user's languages that is among `offered`; `de-AT` is German. Null when none is. */
export function matching(offered: readonly Language[], wishes: readonly string[]): Language | null {
  for (const wish of wishes) {
    const [primary] = wish.toLowerCase().split(/[-_]/, 1)
    const match = offered.find((candidate) => candidate === primary)
    if (match) return match
  }
  return null
}

/** Shows a text in an element, and notes it there, so that {@link translate} can show it in another language. */
export function put(node: HTMLElement, key: Key, values: Values = {}): void {
  const words = text(key, values)
  node.dataset.text = key
  node.dataset.values = JSON.stringify(values)
  if (node.textContent !== words) node.textContent = words
}

const PLACES: readonly (readonly [string, (node: Element, words: string) => void])[] = [
  ['data-label', (node, words) => node.setAttribute('aria-label', words)],
  ['data-placeholder', (node, words) => node.setAttribute('placeholder', words)],
  ['data-content', (node, words) => node.setAttribute('content', words)],
]

/** Fills in every text that the elements of a page name, and says which language it is in. */
export function translate(page: Document): void {
  page.documentElement.lang = current
  for (const node of page.querySelectorAll<HTMLElement>('[data-text]')) {
    put(node, node.dataset.text as Key, JSON.parse(node.dataset.values ?? '{}') as Values)
  }
  for (const [attribute, fill] of PLACES) {
    for (const node of page.querySelectorAll(`[${attribute}]`)) fill(node, text(node.getAttribute(attribute) as Key))
  }
}
