/** The questions of app.json: what each of them asks, shows, and allows as its answer. */

import { type Preset, shownQuestion } from './config'
import { language } from './i18n/text'

export class Presets {
  constructor(private readonly all: readonly Preset[]) {}

  get questions(): string[] {
    return this.all.map(({ question }) => question)
  }

  /** The preset that asks this; undefined for a question of the user's own. */
  of(question: string): Preset | undefined {
    return this.all.find((preset) => preset.question === question)
  }

  /** What is shown and said of a question in the language in use. */
  shown(question: string): string {
    const preset = this.of(question)
    return preset ? shownQuestion(preset, language()) : question
  }
}
