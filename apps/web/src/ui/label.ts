/** A label: a question and its answer, placed beside a point of the stage. */

import { clamp, type Point, type Size } from '../source/crop'
import type { Verdict } from '../verdict'
import { make } from './dom'

const MARGIN = 12
const GAP = 44 // between the point and the label: what is pinned stays in sight
const TALLEST = 158 // a question and five lines; longer answers scroll
const TALL_ABOVE = 118 // above the point a label has one height, whatever it says
const BAR = 62 // the bar at the top stays free
const DOT = 10 // radius of the pin

export class Label {
  private readonly box = make('div', 'label')
  private readonly leader = make('div', 'leader')
  private readonly question = make('p', 'question')
  private readonly answer = make('p', 'answer')
  private readonly note = make('p', 'note')
  private complete = ''

  constructor(parent: HTMLElement) {
    this.box.append(this.question, this.answer, this.note)
    parent.append(this.leader, this.box)
    this.hide()
  }

  /** Shows the question under way; its last answer stays until there is another. */
  begin(question: string): void {
    if (this.question.textContent === question) return
    this.forget()
    this.question.textContent = question
  }

  /** The answer so far. While it repeats the last one, that stays, so that an unchanged answer does not flicker. */
  stream(text: string): void {
    if (this.complete.startsWith(text)) return
    this.show(text, '', true)
  }

  finish({ text, note, isSure }: Verdict): void {
    this.complete = text
    this.show(text || 'No answer', note, isSure)
  }

  /** Starts anew at another place. */
  clear(): void {
    this.question.textContent = ''
    this.forget()
  }

  hide(): void {
    this.box.hidden = this.leader.hidden = true
  }

  remove(): void {
    this.box.remove()
    this.leader.remove()
  }

  /**
   * Puts the label below `point`, or above where there is more room. Its place depends on how tall it may become, not on
   * how tall it is, so that text that streams in moves nothing.
   */
  place(point: Point, stage: Size): void {
    this.box.hidden = this.leader.hidden = false
    const below = stage.height - MARGIN - point.y - GAP
    const over = point.y - GAP - BAR
    const above = below < TALLEST && over > below
    const height = Math.max(0, Math.min(above ? TALL_ABOVE : TALLEST, above ? over : below))
    const width = this.box.offsetWidth
    const left = clamp(point.x - width / 2, MARGIN, stage.width - width - MARGIN)
    const top = above ? point.y - GAP - height : point.y + GAP
    this.box.style.height = above ? `${height}px` : ''
    this.box.style.maxHeight = `${height}px`
    this.box.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`
    const from = above ? top + height : point.y + DOT
    const to = above ? point.y - DOT : top
    this.leader.style.transform = `translate(${Math.round(point.x) - 1}px, ${Math.round(from)}px)`
    this.leader.style.height = `${Math.max(0, Math.round(to - from))}px`
  }

  private forget(): void {
    this.complete = ''
    this.show('', '', true)
  }

  private show(text: string, note: string, isSure: boolean): void {
    if (this.answer.textContent !== text) this.answer.textContent = text
    if (this.note.textContent !== note) this.note.textContent = note
    this.note.hidden = note === ''
    this.box.dataset.sure = String(isSure)
  }
}
