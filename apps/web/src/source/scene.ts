/** Whether the camera still shows what an answer was about. */

import type { Frame } from 'phantom-edge-web'

const CELLS = 8 // along each side
const SAMPLES = 4 // along each side of a cell
/** Of 255, the mean over cells and colours: noise and a hand that shakes stay far below, another scene is far above. */
const CHANGE = 12

/** Mean colours of the cells of a picture; null for one whose pixels were handed over. */
export function summary({ width, height, rgba }: Frame): Float32Array | null {
  if (rgba.byteLength === 0) return null
  const pixels = new Uint8Array(rgba)
  const means = new Float32Array(CELLS * CELLS * 3)
  const steps = CELLS * SAMPLES
  for (let down = 0; down < steps; down++) {
    const row = Math.floor(((down + 0.5) * height) / steps)
    for (let across = 0; across < steps; across++) {
      const column = Math.floor(((across + 0.5) * width) / steps)
      const cell = 3 * (Math.floor(down / SAMPLES) * CELLS + Math.floor(across / SAMPLES))
      for (let colour = 0; colour < 3; colour++) {
        means[cell + colour]! += pixels[4 * (row * width + column) + colour]! / SAMPLES ** 2
      }
    }
  }
  return means
}

export function isAnotherScene(before: Float32Array, now: Float32Array): boolean {
  const difference = before.reduce((sum, value, n) => sum + Math.abs(value - now[n]!), 0)
  return difference / before.length > CHANGE
}

/** Remembers the scene of the answer that is shown. */
export class SceneWatch {
  private answered: Float32Array | null = null
  private latest: Float32Array | null = null

  /** Takes in the next picture; whether it shows another scene than the answer's. */
  hasChanged(frame: Frame): boolean {
    this.latest = summary(frame) ?? this.latest
    const changed = this.answered !== null && this.latest !== null && isAnotherScene(this.answered, this.latest)
    if (changed) this.answered = null
    return changed
  }

  /** The latest picture was answered. */
  keep(): void {
    this.answered = this.latest
  }

  forget(): void {
    this.answered = null
  }
}
