/** What the app is doing: the pill, the loading card, the notice of a failure, and the words for a screen reader. */

import type { FailureCode, Progress } from 'phantom-edge-web'

import type { AppFailure, AppFailureCode } from '../failure'
import { type Key, language, text, type Values } from '../i18n/text'
import { button, element, say, write } from './dom'
import { megabytes, percent } from './format'

export type Tone = 'busy' | 'live' | 'calm' | 'bad'
const REMEDIES = ['retry', 'sample', 'picture', 'fresh', 'close'] as const
export type Remedy = (typeof REMEDIES)[number]
/** What the user may do about a failure. */
export type Remedies = Readonly<Partial<Record<Remedy, () => void>>>
/** What a notice is about: it goes when that is mended, and the model's is not hidden by the camera's. */
export type Subject = 'model' | 'source' | 'question'

export class Status {
  private readonly pill = element('pill', HTMLElement)
  private readonly loading = element('loading', HTMLElement)
  private readonly bar = element('loading-bar', HTMLProgressElement)
  private readonly notice = element('notice', HTMLElement)
  private remedies: Remedies = {}
  private subject: Subject | null = null
  private loads = false
  private spoken = ''

  constructor() {
    for (const remedy of REMEDIES) {
      button(`notice-${remedy}`).addEventListener('click', () => {
        const act = this.remedies[remedy]
        if (this.subject) this.dismiss(this.subject)
        this.returnFocus()
        act?.()
      })
    }
  }

  /** The button that had the focus is gone with the notice: the page goes on where it begins. */
  private returnFocus(): void {
    const app = element('app', HTMLElement)
    ;(app.hidden ? element('welcome', HTMLElement) : app).focus()
  }

  set(key: Key, tone: Tone, values?: Values): void {
    this.pill.dataset.tone = tone
    say('pill-text', key, values)
  }

  progress({ part: name, loaded, total }: Progress): void {
    const part = total > 0 ? Math.min(1, loaded / total) : 0
    this.bar.value = part
    say('loading-step', `loading.${name}`)
    if (total > 0) say('loading-bytes', 'loading.bytes', { loaded: megabytes(Math.min(loaded, total)), total: megabytes(total) })
    if (part < 1) this.set('state.loading', 'busy', { part: percent(part) })
    else this.set('state.preparing', 'busy')
  }

  set isLoading(loading: boolean) {
    this.loads = loading
    this.showLoading()
  }

  /** A notice takes the place of the card, which comes back where the model is still being loaded. */
  private showLoading(): void {
    this.loading.hidden = !this.loads || this.subject !== null
  }

  /** A line that stays and hides nothing, about the model or the picture; none without a key. */
  hint(id: 'hint' | 'hint-source', key: Key | null, values?: Values): void {
    element(id, HTMLElement).hidden = key === null
    if (key) say(id, key, values)
  }

  /** Shows a failure with the ways out of it that are given. */
  fail(subject: Subject, failure: AppFailure, remedies: Remedies): void {
    if (this.subject === 'model' && subject !== 'model') return
    this.subject = subject
    this.remedies = remedies
    this.explain(failure)
    for (const remedy of REMEDIES) {
      button(`notice-${remedy}`).hidden = remedies[remedy] === undefined
    }
    if (subject === 'model') this.loads = false
    this.showLoading()
    this.notice.hidden = false
    this.notice.dataset.code = failure.code
  }

  /**
   * What the page itself says is in the user's language. The engine's line is English: in other languages the way on
   * stands before it, and the line is a detail.
   */
  private explain({ code, message }: AppFailure): void {
    say('notice-title', `failure.${code}`)
    const usual = text(`mend.${code}`)
    const isForeign = ENGINE.has(code) && language() !== 'en' && message !== usual
    if (isForeign || message === usual) say('notice-text', `mend.${code}`)
    else write('notice-text', message)
    element('notice-detail', HTMLElement).hidden = !isForeign
    write('notice-message', message)
  }

  dismiss(subject: Subject): void {
    if (this.subject !== subject) return
    this.subject = null
    this.notice.hidden = true
    this.showLoading()
    delete this.notice.dataset.code
  }

  /** Tells a screen reader; the same words twice in a row are said once. */
  say(words: string): void {
    if (words === this.spoken) return
    this.spoken = words
    write('spoken', words)
  }
}

/** Codes of failures whose message the engine wrote, in English. */
const ENGINE: ReadonlySet<AppFailureCode> = new Set<FailureCode>(['browser', 'damaged', 'manifest', 'memory', 'model', 'network', 'prompt', 'conversation'])
