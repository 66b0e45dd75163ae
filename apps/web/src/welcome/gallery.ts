/** The dialog of pictures to ask about: built-in ones, the moving sample, and the user's own. */

import { put } from '../i18n/text'
import { SAMPLES, type SampleName, sampleAddress } from '../samples/pictures'
import { button, element, make } from '../ui/dom'
import { opened } from '../ui/opened'

export interface GalleryHost {
  onPicture(picture: Blob): void
  /** A built-in picture cannot be had. */
  onNoPicture(error: unknown): void
  onSample(): void
}

export class Gallery {
  private readonly dialog = opened('gallery', 'choose')
  private readonly file = element('file', HTMLInputElement)

  constructor(private readonly host: GalleryHost) {
    element('gallery-pictures', HTMLUListElement).append(...SAMPLES.map((name) => this.entry(name)))
    button('gallery-file').addEventListener('click', () => this.file.click())
    button('gallery-sample').addEventListener('click', () => {
      this.dialog.close()
      this.host.onSample()
    })
    this.file.addEventListener('change', () => {
      const [file] = this.file.files ?? []
      this.file.value = ''
      if (!file) return
      this.dialog.close()
      this.host.onPicture(file)
    })
  }

  open(): void {
    if (!this.dialog.open) this.dialog.showModal()
  }

  close(): void {
    this.dialog.close()
  }

  private entry(name: SampleName): HTMLLIElement {
    const picture = make('img')
    picture.src = sampleAddress(name)
    picture.alt = '' // the words below it say what it is
    picture.loading = 'lazy'
    picture.width = picture.height = 480
    const words = make('span')
    put(words, `sample.${name}`)
    const card = make('button', 'sample')
    card.type = 'button'
    card.dataset.sample = name
    card.append(picture, words)
    card.addEventListener('click', () => void this.choose(name))
    const item = make('li')
    item.append(card)
    return item
  }

  private async choose(name: SampleName): Promise<void> {
    this.dialog.close()
    try {
      this.host.onPicture(await (await fetch(sampleAddress(name))).blob())
    } catch (error) {
      this.host.onNoPicture(error)
    }
  }
}
