/** The conversation about a picture that is held: what was asked and answered, to which the next question may refer. */

import type { Turn } from 'phantom-edge-web'

import { text } from '../i18n/text'
import { button, element, make } from '../ui/dom'
import { spoken, type Verdict } from '../verdict'

const LEAST_SHOWN = 2 // a single answer stands in its label

/** A question and its answer, as the model had them and as the user reads them. */
interface Said {
  readonly turn: Turn
  readonly shown: string
  readonly verdict: Verdict
}

export class Thread {
  private readonly root = element('thread', HTMLElement)
  private readonly list = element('thread-list', HTMLOListElement)
  private readonly input = element('question', HTMLInputElement)
  private said: readonly Said[] = []

  constructor(onNew: () => void) {
    button('thread-new').addEventListener('click', onNew)
  }

  /** The turns before `question`; asked again, it takes the place of itself. */
  before(question: string): readonly Turn[] {
    return this.without(question).map(({ turn }) => turn)
  }

  add(turn: Turn, shown: string, verdict: Verdict): void {
    this.show([...this.without(turn.question), { turn, shown, verdict }])
  }

  clear(): void {
    if (this.said.length > 0) this.show([])
  }

  /** Everything but a last turn that asked the same. */
  private without(question: string): readonly Said[] {
    return this.said.at(-1)?.turn.question === question ? this.said.slice(0, -1) : this.said
  }

  private show(said: readonly Said[]): void {
    this.said = said
    this.root.hidden = said.length < LEAST_SHOWN
    this.list.replaceChildren(
      ...said.map(({ shown, verdict }) => {
        const item = make('li')
        item.append(make('span', 'question', shown), make('span', 'answer', spoken(verdict)))
        return item
      }),
    )
    this.list.scrollTop = this.list.scrollHeight
    const placeholder = said.length > 0 ? 'thread.placeholder' : 'panel.placeholder'
    this.input.dataset.placeholder = placeholder
    this.input.placeholder = text(placeholder)
  }
}
