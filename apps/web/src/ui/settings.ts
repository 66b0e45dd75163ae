/** The dialog of what a user may choose: language, colours, how finely the model looks, the answer's length, keys. */

import type { ModelInfo } from 'phantom-edge-web'

import { LANGUAGES, type Language, number, text, TEXTS } from '../i18n/text'
import { LONGEST_PREFIX, type Preferences, type Scheme } from '../preferences'
import { button, element } from './dom'
import { pictureDetails } from './format'
import { opened } from './opened'

const LENGTHS = [16, 32, 64, 128, 256] // tokens

export interface SettingsHost {
  /** The user chose this; it is to be kept and done. */
  onChoice<K extends keyof Preferences>(name: K, value: Preferences[K]): void
  /** Everything is to be as the app came. */
  onReset(): void
}

export class Settings {
  private readonly language = element('language', HTMLSelectElement)
  private readonly scheme = element('scheme', HTMLSelectElement)
  private readonly detail = element('detail', HTMLSelectElement)
  private readonly longest = element('longest', HTMLSelectElement)
  private readonly digits = element('digits', HTMLInputElement)
  private readonly instructions = element('prefix', HTMLTextAreaElement)

  constructor(host: SettingsHost) {
    opened('settings', 'adjust', 'welcome-adjust')
    this.instructions.maxLength = LONGEST_PREFIX
    this.language.addEventListener('change', () => host.onChoice('language', this.language.value))
    this.scheme.addEventListener('change', () => host.onChoice('scheme', this.scheme.value as Scheme))
    this.detail.addEventListener('change', () => host.onChoice('tileSize', this.tileSize ?? null))
    this.longest.addEventListener('change', () => host.onChoice('longestAnswer', this.maxTokens))
    this.digits.addEventListener('change', () => host.onChoice('digitKeys', this.digits.checked))
    this.instructions.addEventListener('change', () => host.onChoice('prefix', this.prefix))
    button('reset').addEventListener('click', () => host.onReset())
  }

  /** Most tokens of an answer. */
  get maxTokens(): number {
    return Number(this.longest.value)
  }

  /** What stands before each question to the model; may be empty. */
  get prefix(): string {
    return this.instructions.value.trim()
  }

  /** Which of the model's sizes to look with; undefined where there is no choice. */
  get tileSize(): number | undefined {
    return this.detail.value === '' ? undefined : Number(this.detail.value)
  }

  set tileSize(size: number) {
    this.detail.value = String(size)
  }

  /** Shows what holds now, whether it was chosen or is the app's; `languages` are those that the app has. */
  show(chosen: Preferences, languages: readonly Language[], inUse: Language, scheme: Scheme, longest: number): void {
    const names = LANGUAGES.filter((one) => languages.includes(one)).map((one) => new Option(TEXTS[one]['language.name'], one))
    for (const option of names) option.lang = option.value
    this.language.replaceChildren(...names)
    this.language.value = inUse
    this.scheme.value = scheme
    const lengths = [...new Set([...LENGTHS, longest])].sort((a, b) => a - b)
    const words = (n: number) => text('unit.tokens', { n: number(n) })
    this.longest.replaceChildren(...lengths.map((n) => new Option(words(n), String(n))))
    this.longest.value = String(longest)
    this.digits.checked = chosen.digitKeys
    this.instructions.value = chosen.prefix
  }

  /** The sizes to choose from, if there are several. */
  offer({ sizes }: ModelInfo, tile: number): void {
    const several = sizes.length > 1
    const choices = several ? pictureDetails(sizes.map(({ size }) => size)) : []
    element('detail-row', HTMLElement).hidden = !several
    this.detail.replaceChildren(...choices.map(([size, words]) => new Option(words, String(size))))
    if (several) this.tileSize = tile
  }
}
