/** Pictures for the history, from the pixels that go to the model. */

import type { Frame } from 'phantom-edge-web'

import type { Seen } from './history'

const MOST_SIDE = 640 // pixels: more than any model here looks at
const QUALITY = 0.92

/** Keeps a copy of the newest frame's pixels: the frame's own are handed over when it is asked about. */
export class Keeper {
  /** What the newest frame shows; null for one that was handed over before it came here. */
  latest: Seen | null = null

  keep({ id, width, height, rgba }: Frame): void {
    if (this.latest?.id === id) return
    this.latest = rgba.byteLength > 0 ? { id, width, height, rgba: rgba.slice(0) } : null
  }
}

export async function encodePicture({ width, height, rgba }: Seen): Promise<Blob> {
  const whole = new OffscreenCanvas(width, height)
  whole.getContext('2d')?.putImageData(new ImageData(new Uint8ClampedArray(rgba), width, height), 0, 0)
  const scale = Math.min(1, MOST_SIDE / Math.max(width, height))
  if (scale === 1) return whole.convertToBlob({ type: 'image/jpeg', quality: QUALITY })
  const small = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale))
  small.getContext('2d')?.drawImage(whole, 0, 0, small.width, small.height)
  return small.convertToBlob({ type: 'image/jpeg', quality: QUALITY })
}
