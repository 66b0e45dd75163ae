/** The panel: questions to choose from with their last answers, a question of one's own, the meters, pause. */

import type { Timing } from 'phantom-edge-web'

import type { Verdict } from '../verdict'
import { text } from '../i18n/text'
import { button, element, make, say, write } from './dom'
import { megabytes, perSecond, seconds } from './format'
import { type Memory, memoryWords } from './memory'

const LEAST_FOR_SPEED = 8 // tokens; of fewer, one slow step would make the figure

export interface PanelHost {
  onQuestion(question: string): void
  onAll(): void
  onPause(): void
  /** Whether the keys 1 to 9 choose a question. */
  digitKeys(): boolean
}

export class Panel {
  private readonly list = element('presets', HTMLUListElement)
  private readonly input = element('question', HTMLInputElement)
  private readonly all = button('all')
  private readonly send = button('send')
  private readonly pause = button('pause')
  private readonly root = element('panel', HTMLElement)
  private readonly cards = new Map<string, Readonly<Record<'label' | 'answer', HTMLElement>> & { card: HTMLButtonElement }>()

  constructor(private readonly host: PanelHost) {
    element('ask', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault()
      const question = this.input.value.trim()
      if (question) this.host.onQuestion(question)
      else this.input.focus()
    })
    this.all.addEventListener('click', () => this.host.onAll())
    this.pause.addEventListener('click', () => this.host.onPause())
    document.addEventListener('keydown', (event) => this.shortcut(event))
  }

  show(title: string, presets: readonly string[]): void {
    document.title = title
    write('title', title)
    write('welcome-title', title)
    this.list.replaceChildren()
    for (const question of presets) {
      const card = make('button')
      const answer = make('span', 'answer', '–')
      const label = make('span', 'question', question)
      card.type = 'button'
      card.disabled = true
      card.append(label, answer)
      card.addEventListener('click', () => this.host.onQuestion(question))
      const item = make('li')
      item.append(card)
      this.list.append(item)
      this.cards.set(question, { card, label, answer })
    }
  }

  /** Shows the presets in the language in use; `shown` says what stands for a question. */
  name(shown: (question: string) => string): void {
    for (const [question, { label }] of this.cards) label.textContent = shown(question)
  }

  /** What works now: to ask needs a model and a picture, to pause a picture that moves. */
  allow(canAsk: boolean, canPause: boolean): void {
    this.all.disabled = this.send.disabled = !canAsk
    this.pause.disabled = !canPause
    for (const { card } of this.cards.values()) card.disabled = !canAsk
    this.list.tabIndex = canAsk ? -1 : 0 // what scrolls is reached by keyboard, with or without a card that takes the focus
  }

  /** Shows every question with its answer at once, also where there is room for a few of them in a row only. */
  set showsAll(all: boolean) {
    this.root.toggleAttribute('data-all', all)
  }

  get showsAll(): boolean {
    return this.root.hasAttribute('data-all')
  }

  /** Marks the question under way. */
  choose(question: string): void {
    for (const [known, { card }] of this.cards) card.setAttribute('aria-pressed', String(known === question))
  }

  answer(question: string, { text: answer, note }: Verdict): void {
    const shown = this.cards.get(question)
    if (!shown) return
    shown.answer.textContent = answer || text('answer.none')
    shown.card.title = note ? `${answer}, ${note}` : answer
  }

  /** Forgets the answers: they were about another picture. */
  forget(): void {
    for (const { card, answer } of this.cards.values()) {
      answer.textContent = '–'
      card.title = ''
    }
  }

  set paused(paused: boolean) {
    this.pause.dataset.paused = String(paused)
    say('pause-text', paused ? 'panel.resume' : 'panel.pause')
  }

  /** What the answer took so far; few tokens have no speed, so of a short answer its whole time is shown. */
  meter(timing: Timing, isFinal: boolean): void {
    const { firstToken, total, tokens, tokensPerSecond } = timing
    if (tokens > 0) write('first', seconds(firstToken))
    const hasSpeed = tokens >= LEAST_FOR_SPEED && tokensPerSecond > 0
    if (!hasSpeed && !(isFinal && tokens > 0)) return
    say('speed-name', hasSpeed ? 'meter.speed' : 'meter.answer')
    write('speed', hasSpeed ? perSecond(tokensPerSecond) : seconds(total))
    element('speed', HTMLElement).title = hasSpeed ? '' : text('meter.few', { n: tokens })
  }

  remember({ bytes, isWhole }: Memory): void {
    say('memory-name', isWhole ? 'meter.memory' : 'meter.runtime')
    write('memory', megabytes(bytes))
    element('memory', HTMLElement).title = memoryWords({ bytes, isWhole })
  }

  /** Space pauses and, unless that is switched off, 1 to 9 choose a question, where that is not what the key does anyway. */
  private shortcut(event: KeyboardEvent): void {
    const on = event.target instanceof Element ? event.target : document.body
    if (event.ctrlKey || event.metaKey || event.altKey || on.closest('input, select, textarea, dialog')) return
    if (event.key === ' ' && !on.closest('button, a') && !this.pause.disabled) {
      event.preventDefault()
      this.host.onPause()
    }
    const card = this.host.digitKeys() && /^[1-9]$/.test(event.key) ? [...this.cards.values()][Number(event.key) - 1]?.card : undefined
    if (card && !card.disabled) card.click()
  }
}
