/** How much of the picture the model sees: a slider for the square around the pin, and the whole picture. */

import type { Aim } from '../source/aim'
import { button, element, text } from './dom'
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
    this.slider.setAttribute('aria-valuetext', `${percent(part)} of the shorter side`)
    this.whole.setAttribute('aria-pressed', String(isWhole))
    text('part-text', isWhole ? 'all' : percent(part))
  }
}

/** For a screen reader: where the pin is, and how much around it is seen. */
export function aimWords({ at, part, isWhole }: Aim): string {
  const seen = isWhole ? 'the whole picture' : `a square of ${percent(part)}`
  return `Pin at ${percent(at.x)} from the left, ${percent(at.y)} from the top: ${seen}.`
}
