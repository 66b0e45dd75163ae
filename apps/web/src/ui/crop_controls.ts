/** How much of the picture the model sees: a slider for the square around the pin, and the whole picture. */

import { text } from '../i18n/text'
import type { Aim } from '../source/aim'
import { button, element, say, write } from './dom'
import { percent } from './format'

export interface CropHost {
  /** The square is another; `isFinal` when the user has let go. */
  onCrop(isFinal: boolean): void
}

export class CropControls {
  private readonly slider = element('part', HTMLInputElement)
  private readonly whole = button('whole')

  constructor(
    private readonly aim: Aim,
    private readonly host: CropHost,
  ) {
    this.slider.addEventListener('input', () => {
      this.aim.part = Number(this.slider.value) / 100
      this.host.onCrop(false)
    })
    this.slider.addEventListener('change', () => this.host.onCrop(true))
    this.whole.addEventListener('click', () => {
      this.aim.isWhole = !this.aim.isWhole
      this.host.onCrop(true)
    })
    this.show()
  }

  set disabled(disabled: boolean) {
    this.slider.disabled = this.whole.disabled = disabled
  }

  /** Shows what the aim is now. */
  show(): void {
    const { isWhole, part } = this.aim
    this.slider.value = String(Math.round(100 * part))
    this.slider.setAttribute('aria-valuetext', text('crop.part-value', { part: percent(part) }))
    this.whole.setAttribute('aria-pressed', String(isWhole))
    if (isWhole) say('part-text', 'crop.all')
    else write('part-text', percent(part))
  }
}

/** For a screen reader: where the pin is, and how much around it is seen. */
export function aimWords({ at, part, isWhole }: Aim): string {
  const seen = isWhole ? text('spoken.whole') : text('spoken.square', { part: percent(part) })
  return text('spoken.pin', { x: percent(at.x), y: percent(at.y), seen })
}
