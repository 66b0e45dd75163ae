/** What the user has chosen, in the dialog or the last time, and what the app's own settings say where nothing was. */

import type { ModelInfo, TileChoice } from 'phantom-edge-web'

import type { AppConfig } from './config'
import { forgetAddress, speak } from './i18n/speak'
import { language, text } from './i18n/text'
import { forgetPreferences, type Preferences, readPreferences, remember, type Scheme } from './preferences'
import { applyTheme } from './theme'
import { Settings, type SettingsHost } from './ui/settings'

export interface UserSettingsHost {
  /** The app speaks another language: what it has written itself is to be written anew. */
  onLanguage(): void
  /** Answers may be others now: another size, length or instruction. */
  onAnswering(): void
  /** Said to who cannot see it. */
  onSaid(words: string): void
}

export class UserSettings implements SettingsHost {
  private readonly dialog = new Settings(this)
  private info: ModelInfo | null = null

  constructor(
    private readonly config: AppConfig,
    private chosen: Preferences,
    private readonly host: UserSettingsHost,
  ) {
    this.show()
  }

  get digitKeys(): boolean {
    return this.chosen.digitKeys
  }

  /** Most tokens of an answer. */
  get maxTokens(): number {
    return this.chosen.longestAnswer ?? this.config.longestAnswer
  }

  /** Which of the model's sizes to look with; undefined where there is no choice. */
  get tileSize(): number | undefined {
    return this.dialog.tileSize
  }

  /** As {@link tileSize}, for loading the model. */
  get tileChoice(): TileChoice | null {
    const size = this.tileSize
    return size === undefined ? null : { size, required: false }
  }

  /** What the model is asked for a question. */
  prompt(question: string): string {
    return this.chosen.prefix === '' ? question : `${this.chosen.prefix} ${question}`
  }

  /** The model is loaded: its sizes can be chosen from. */
  offer(info: ModelInfo): void {
    this.info = info
    this.dialog.offer(info, info.tile)
  }

  /** A size that was chosen cannot be had: back to the one that works. */
  keepTile(size: number): void {
    this.dialog.tileSize = size
    this.keep('tileSize', size)
  }

  onChoice<K extends keyof Preferences>(name: K, value: Preferences[K]): void {
    this.keep(name, value)
    if (name === 'language') {
      forgetAddress()
      this.speak()
    }
    if (name === 'scheme') this.paint()
    if (name === 'tileSize' || name === 'longestAnswer' || name === 'prefix') this.host.onAnswering()
  }

  onReset(): void {
    forgetPreferences()
    this.chosen = readPreferences()
    forgetAddress()
    this.speak()
    this.paint()
    const usual = this.info?.sizes[0]?.size
    if (usual !== undefined) this.dialog.tileSize = usual
    this.host.onAnswering()
    this.host.onSaid(text('settings.reset-done'))
  }

  private keep<K extends keyof Preferences>(name: K, value: Preferences[K]): void {
    this.chosen = { ...this.chosen, [name]: value }
    remember(name, value)
  }

  private get scheme(): Scheme {
    return this.chosen.scheme ?? this.config.theme.scheme
  }

  private paint(): void {
    applyTheme(this.scheme, this.config.theme.accent)
    this.show()
  }

  private speak(): void {
    speak(this.config, this.chosen.language)
    this.show()
    if (this.info) this.dialog.offer(this.info, this.tileSize ?? this.info.tile)
    this.host.onLanguage()
  }

  private show(): void {
    this.dialog.show(this.chosen, this.config.languages, language(), this.scheme, this.maxTokens)
  }
}
