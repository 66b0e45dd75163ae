/** Pictures that come to the page: dropped on it or pasted. Says what it takes, and what it does not. */

import { Failure } from 'phantom-edge-web'

import { text } from '../i18n/text'
import { element } from '../ui/dom'

export interface IncomingHost {
  /** A file that may be a picture; `others` were given with it and are left out. */
  onFile(file: File, others: number): void
  /** What came is nothing to ask about. */
  onNothing(failure: Failure): void
}

const TEXT_FIELDS = 'input, textarea, select'

export class Incoming {
  private readonly place = element('drop', HTMLElement)

  constructor(private readonly host: IncomingHost) {
    document.addEventListener('dragenter', (event) => this.over(event))
    document.addEventListener('dragover', (event) => this.over(event))
    document.addEventListener('dragleave', (event) => {
      if (event.relatedTarget === null) this.place.hidden = true // out of the window
    })
    document.addEventListener('dragend', () => (this.place.hidden = true))
    document.addEventListener('drop', (event) => {
      event.preventDefault()
      this.place.hidden = true
      this.take([...(event.dataTransfer?.files ?? [])], 'mend.drop')
    })
    document.addEventListener('paste', (event) => this.pasted(event))
  }

  /** Shows where the picture falls. */
  private over(event: DragEvent): void {
    event.preventDefault()
    if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy'
    this.place.hidden = false
  }

  private pasted(event: ClipboardEvent): void {
    const files = [...(event.clipboardData?.files ?? [])]
    const inField = event.target instanceof Element && event.target.closest(TEXT_FIELDS) !== null
    if (files.length === 0 && inField) return // words, for the field
    event.preventDefault()
    this.take(files, 'mend.paste')
  }

  /** The first that may be a picture, else the first: it then says itself what is wrong with it. */
  private take(files: readonly File[], nothing: 'mend.drop' | 'mend.paste'): void {
    const file = files.find(({ type }) => /^(image|video)\//.test(type)) ?? files[0]
    if (file) this.host.onFile(file, files.length - 1)
    else this.host.onNothing(new Failure('picture', text(nothing)))
  }
}
