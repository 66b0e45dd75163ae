/**
 * The first screen: what this is, and three ways on. No permission is asked for before the user takes one. The model is
 * loaded meanwhile: its card, and the notice of what failed, are here as long as this screen is.
 */

import { button, element, write } from '../ui/dom'
import { type Way, WAYS } from './start'

const CARDS = ['loading', 'notice'] as const

export class Welcome {
  private readonly root = element('welcome', HTMLElement)
  private readonly app = element('app', HTMLElement)

  constructor(onWay: (way: Way) => void) {
    for (const way of WAYS) button(`start-${way}`).addEventListener('click', () => onWay(way))
    button('again').addEventListener('click', () => this.show())
  }

  get isShown(): boolean {
    return !this.root.hidden
  }

  show(): void {
    this.put(true)
    this.root.focus()
  }

  /** Shows the app; the focus, if it was on this screen, is where the app begins. */
  leave(): void {
    if (!this.isShown) return
    const wasHere = this.root.contains(document.activeElement)
    this.put(false)
    if (wasHere) this.app.focus()
  }

  /** The model is loaded; `sentence` is what it knows, as it says itself. */
  ready(sentence: string | null): void {
    element('welcome-ready', HTMLElement).hidden = false
    element('welcome-knows', HTMLElement).hidden = sentence === null
    write('welcome-knows-text', sentence ?? '')
  }

  private put(shown: boolean): void {
    this.root.hidden = !shown
    this.app.hidden = shown
    element('skip', HTMLElement).hidden = shown
    const place = element(shown ? 'welcome-cards' : 'overlay', HTMLElement)
    for (const id of CARDS) place.append(element(id, HTMLElement))
  }
}
