/** A label: a question and its answer, placed beside a point of the stage. */

import type { Point } from 'phantom-edge-web'

import { text } from '../i18n/text'
import type { Verdict } from '../verdict'
import { make } from './dom'
import { type Box, type LabelSize, type Placement, placeLabel } from './placing'

/** In rem, as the page's own sizes are. */
const TALLEST = 9.9 // a question and five lines; longer answers scroll
const ABOVE = 7.4 // above its subject a label has one height, whatever it says
const LEAST = 5 // a question and a line
const SMALL = 3 // the answer alone, of a pin that is not asked about any more
const DOT = 10 // radius of the pin in pixels

export class Label {
  private readonly box = make('div', 'label')
  private readonly leader = make('div', 'leader')
  private readonly question = make('p', 'question')
  private readonly answer = make('p', 'answer')
  private readonly note = make('p', 'note')
  private readonly trash = make('button', 'delete')
  private complete = ''

  constructor(parent: HTMLElement) {
    this.trash.type = 'button'
    this.trash.hidden = true
    this.box.append(this.question, this.answer, this.note, this.trash)
    parent.append(this.leader, this.box)
    this.hide()
  }

  /** Offers to delete the pin. */
  set onDelete(act: () => void) {
    this.trash.hidden = false
    this.trash.textContent = '×'
    this.trash.addEventListener('click', act)
    this.name()
  }

  /** Small shows the answer alone. */
  set isSmall(small: boolean) {
    this.box.classList.toggle('small', small)
  }

  /** Shows the question under way; its last answer stays until there is another. */
  begin(question: string): void {
    if (this.question.textContent === question) return
    this.forget()
    this.question.textContent = question
  }

  /** The answer so far. While it repeats the last one, that stays, so that an unchanged answer does not flicker. */
  stream(answer: string): void {
    if (this.complete.startsWith(answer)) return
    this.show(answer, '', true)
  }

  finish({ text: shown, answer, note, isSure }: Verdict): void {
    this.complete = answer
    this.show(shown || text('answer.none'), note, isSure)
  }

  /** Starts anew at another place. */
  clear(): void {
    this.question.textContent = ''
    this.forget()
  }

  /** The answer is about another picture; the question is under way again. */
  forget(): void {
    this.complete = ''
    this.show('', '', true)
  }

  hide(): void {
    this.box.hidden = this.leader.hidden = true
  }

  remove(): void {
    this.box.remove()
    this.leader.remove()
  }

  /** Puts the label beside `subject`, in `free`, not over the boxes in `taken`. Returns the room that it takes. */
  place(point: Point, subject: Box, free: Box, taken: readonly Box[] = []): Placement {
    this.box.hidden = this.leader.hidden = false
    const place = placeLabel(point, subject, free, this.size(), taken)
    const { left, top, height, side } = place
    this.box.style.height = side === 'above' || side === 'edge' ? `${height}px` : ''
    this.box.style.maxHeight = `${height}px`
    this.box.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`
    this.box.dataset.side = side
    this.box.dataset.point = `${Math.round(point.x)},${Math.round(point.y)}`
    this.lead(point, place)
    this.offerScrolling()
    return place
  }

  private size(): LabelSize {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize)
    const small = this.box.classList.contains('small')
    const [tall, above, least] = small ? [SMALL, SMALL, SMALL] : [TALLEST, ABOVE, LEAST]
    return { width: this.box.offsetWidth, tall: tall * rem, above: above * rem, least: least * rem }
  }

  /** The line from the pin to the nearest place of the label. */
  private lead(point: Point, { left, top, width, height }: Placement): void {
    const to = {
      x: Math.min(Math.max(point.x, left + DOT), left + width - DOT),
      y: Math.min(Math.max(point.y, top), top + height),
    }
    const across = to.x - point.x
    const down = to.y - point.y
    const length = Math.hypot(across, down)
    const turn = Math.atan2(-across, down)
    const from = { x: point.x + (across / (length || 1)) * DOT, y: point.y + (down / (length || 1)) * DOT }
    this.leader.style.transform = `translate(${from.x - 1}px, ${from.y}px) rotate(${turn}rad)`
    this.leader.style.height = `${Math.max(0, Math.round(length - DOT))}px`
  }

  private show(answer: string, note: string, isSure: boolean): void {
    if (this.answer.textContent !== answer) this.answer.textContent = answer
    if (this.note.textContent !== note) this.note.textContent = note
    this.note.hidden = note === ''
    this.box.dataset.sure = String(isSure)
    this.name()
    this.offerScrolling()
  }

  /** An answer that is too long takes pointer and focus, so that it can be scrolled; others let taps through. */
  private offerScrolling(): void {
    if (this.box.scrollHeight > this.box.clientHeight + 1) this.box.tabIndex = 0
    else this.box.removeAttribute('tabindex')
  }

  private name(): void {
    if (this.trash.hidden) return
    const answer = this.answer.textContent || text('answer.none-yet')
    this.trash.setAttribute('aria-label', text('answer.delete', { answer }))
  }
}
