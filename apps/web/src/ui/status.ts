/** What the app is doing: the pill, the loading card, the notice of a failure, and the words for a screen reader. */

import type { Failure, Progress } from 'phantom-edge-web'

import { button, element, text } from './dom'
import { megabytes } from './format'

export type Tone = 'busy' | 'live' | 'calm' | 'bad'
export type Remedy = 'retry' | 'picture' | 'close'
/** What a notice is about: it goes when that is mended, and the model's is not hidden by the camera's. */
export type Subject = 'model' | 'source' | 'question'

const TITLES: Readonly<Partial<Record<Failure['code'], string>>> = {
  'camera-missing': 'No camera',
  'camera-refused': 'The camera is not allowed',
  'camera-busy': 'The camera is in use',
  'camera-insecure': 'The camera needs a secure page',
  ar: 'AR is not available',
  browser: 'This browser cannot run the app',
  damaged: 'The model is damaged',
  manifest: 'The model cannot be used',
  memory: 'Out of memory',
  network: 'The model cannot be loaded',
  picture: 'Not a picture',
  prompt: 'This cannot be asked',
}

export class Status {
  private readonly pill = element('pill', HTMLElement)
  private readonly loading = element('loading', HTMLElement)
  private readonly bar = element('loading-bar', HTMLProgressElement)
  private readonly notice = element('notice', HTMLElement)
  private remedies: Partial<Record<Remedy, () => void>> = {}
  private subject: Subject | null = null
  private loads = false
  private spoken = ''

  constructor() {
    for (const remedy of ['retry', 'picture', 'close'] as const) {
      button(`notice-${remedy}`).addEventListener('click', () => {
        const act = this.remedies[remedy]
        if (this.subject) this.dismiss(this.subject)
        act?.()
      })
    }
  }

  set(words: string, tone: Tone): void {
    this.pill.dataset.tone = tone
    text('pill-text', words)
  }

  progress({ step, loaded, total }: Progress): void {
    const part = total > 0 ? Math.min(1, loaded / total) : 0
    this.bar.value = part
    text('loading-step', step)
    if (total > 0) text('loading-bytes', `${megabytes(Math.min(loaded, total))} of ${megabytes(total)}`)
    this.set(part < 1 ? `Loading ${Math.round(100 * part)} %` : 'Preparing', 'busy')
  }

  set isLoading(loading: boolean) {
    this.loads = loading
    this.showLoading()
  }

  /** A notice takes the place of the card, which comes back where the model is still being loaded. */
  private showLoading(): void {
    this.loading.hidden = !this.loads || this.subject !== null
  }

  /** A line that stays and hides nothing; empty for none. */
  hint(words: string): void {
    text('hint', words)
    element('hint', HTMLElement).hidden = words === ''
  }

  /** Shows a failure with the ways out of it that are given. */
  fail(subject: Subject, failure: Failure, remedies: Partial<Record<Remedy, () => void>>): void {
    if (this.subject === 'model' && subject !== 'model') return
    this.subject = subject
    this.remedies = remedies
    text('notice-title', TITLES[failure.code] ?? 'Something went wrong')
    text('notice-text', failure.message)
    for (const remedy of ['retry', 'picture', 'close'] as const) {
      button(`notice-${remedy}`).hidden = remedies[remedy] === undefined
    }
    if (subject === 'model') this.loads = false
    this.showLoading()
    this.notice.hidden = false
    this.notice.dataset.code = failure.code
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
    text('spoken', words)
  }
}
