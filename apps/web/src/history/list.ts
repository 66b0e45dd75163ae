/** The dialog of the answers so far: each with its picture; to look at again, copy, share and delete. */

import { language, text, type Key } from '../i18n/text'
import { button, element, make, say } from '../ui/dom'
import { opened } from '../ui/opened'
import { spoken } from '../verdict'
import type { Entry, History } from './history'

export interface HistoryHost {
  /** Shows the entry's picture again, to ask more about it. */
  onReopen(entry: Entry): void
  /** Said to who cannot see it. */
  onSaid(words: string): void
  /** What is shown of a question in the language in use. */
  shown(question: string): string
}

const ICONS: Readonly<Record<string, string>> = {
  copy: 'M9 9h10v11H9zM15 9V4H5v11h4',
  share: 'M12 15V4M8 7.5 12 4l4 3.5M6 11v9h12v-9',
  delete: 'M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13',
}

export class HistoryList {
  private readonly dialog = opened('history', 'past')
  private readonly list = element('history-list', HTMLOListElement)
  private readonly pictures = new Map<Promise<Blob>, string>()

  constructor(
    private readonly history: History,
    private readonly host: HistoryHost,
  ) {
    button('past').addEventListener('click', () => this.show())
    button('history-clear').addEventListener('click', () => {
      this.history.clear()
      this.show()
      this.host.onSaid(text('history.cleared'))
      button('history-close').focus()
    })
  }

  /** The history is another, or the language. Rows that are shown stay as they are while somebody is among them. */
  changed(): void {
    const { length } = this.history.entries
    button('past').disabled = length === 0
    say('past', length === 0 ? 'history.title' : 'history.open', { n: length })
    const kept = new Set(this.history.entries.map(({ picture }) => picture))
    for (const [picture, address] of this.pictures) {
      if (kept.has(picture)) continue
      URL.revokeObjectURL(address)
      this.pictures.delete(picture)
    }
  }

  private show(): void {
    const { entries } = this.history
    this.list.replaceChildren(...entries.map((entry) => this.row(entry)))
    this.list.hidden = entries.length === 0
    element('history-empty', HTMLElement).hidden = entries.length > 0
    button('history-clear').disabled = entries.length === 0
  }

  private row(entry: Entry): HTMLLIElement {
    const open = make('button', 'entry')
    open.type = 'button'
    const picture = make('img')
    picture.alt = ''
    picture.width = picture.height = 64
    void this.addressOf(entry.picture).then((address) => (picture.src = address))
    const words = make('span', 'words')
    const time = make('time', 'fine', entry.at.toLocaleTimeString(language()))
    time.dateTime = entry.at.toISOString()
    words.append(make('span', 'question', this.host.shown(entry.question)), make('span', 'answer', answerOf(entry)), time)
    open.append(picture, words)
    open.addEventListener('click', () => {
      this.dialog.close()
      this.host.onReopen(entry)
    })
    const item = make('li')
    item.append(open, this.tool('copy', entry, () => this.copy(entry)))
    if (typeof navigator.share === 'function') item.append(this.tool('share', entry, () => this.share(entry)))
    item.append(this.tool('delete', entry, () => this.remove(entry)))
    return item
  }

  private tool(name: 'copy' | 'share' | 'delete', entry: Entry, act: () => void | Promise<void>): HTMLButtonElement {
    const tool = make('button', `round ${name}`)
    tool.type = 'button'
    tool.setAttribute('aria-label', text(`history.${name}`, { answer: answerOf(entry) }))
    tool.append(icon(name))
    tool.addEventListener('click', () => void act())
    return tool
  }

  private async copy(entry: Entry): Promise<void> {
    await this.try(() => navigator.clipboard.writeText(this.written(entry)), 'history.copied')
  }

  /** With the picture where that can be shared. */
  private async share(entry: Entry): Promise<void> {
    const files = [new File([await entry.picture], 'picture.jpg', { type: 'image/jpeg' })]
    const words = { text: this.written(entry) }
    const withPicture = { ...words, files }
    await this.try(() => navigator.share(navigator.canShare?.(withPicture) ? withPicture : words), 'history.shared')
  }

  /** Says what came of it; to think better of sharing is no failure. */
  private async try(act: () => Promise<void>, done: Key): Promise<void> {
    let key = done
    try {
      await act()
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') return
      key = 'history.refused'
    }
    say('history-done', key)
  }

  private remove(entry: Entry): void {
    const at = this.history.entries.indexOf(entry)
    this.history.remove(entry.id)
    this.show()
    this.host.onSaid(text('history.deleted'))
    const rows = this.list.querySelectorAll<HTMLButtonElement>('.delete')
    ;(rows[Math.min(at, rows.length - 1)] ?? button('history-close')).focus()
  }

  private written(entry: Entry): string {
    return `${this.host.shown(entry.question)}\n${answerOf(entry)}`
  }

  private async addressOf(picture: Promise<Blob>): Promise<string> {
    const known = this.pictures.get(picture)
    if (known !== undefined) return known
    const address = URL.createObjectURL(await picture)
    this.pictures.set(picture, address)
    return address
  }
}

function answerOf({ verdict }: Entry): string {
  return spoken(verdict)
}

function icon(name: string): SVGElement {
  const space = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(space, 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS(space, 'path')
  path.setAttribute('d', ICONS[name] ?? '')
  svg.append(path)
  return svg
}
