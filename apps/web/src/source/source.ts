/** Where pictures come from: the camera, a file, or the camera of an AR session. */

import type { Frame, Point, Size, Square } from 'phantom-edge-web'

import type { Fit } from './view'

export interface Source {
  readonly kind: 'camera' | 'picture' | 'ar'
  readonly fit: Fit
  /** Size in pixels; null while there is no picture yet. */
  readonly size: Size | null
  /** A source that pins in the room itself: where on the stage its pin is now, null when it is out of sight. */
  readonly aim?: () => Point | null
  /** Puts a pin straight ahead, for who cannot tap; only of a source that pins in the room. */
  readonly placePin?: () => void
  /** The newest picture's `square`, a new frame each time, or null when there is none. */
  grab(square: Square): Promise<Frame | null>
  /** Keeps the newest picture: `grab` gives squares of it until `thaw`. */
  freeze(): void
  thaw(): void
  close(): void
}

let frames = 0

/** Cuts squares out of anything that can be drawn. */
export class Cutter {
  private readonly canvas = new OffscreenCanvas(1, 1)
  private readonly context = this.canvas.getContext('2d', { willReadFrequently: true })
  private last: { key: string; frame: Frame } | null = null

  cut(picture: CanvasImageSource, { x, y, side }: Square): Frame | null {
    if (!this.context) return null
    if (this.canvas.width !== side || this.canvas.height !== side) {
      this.canvas.width = side
      this.canvas.height = side
    }
    this.context.drawImage(picture, x, y, side, side, 0, 0, side, side)
    const { data } = this.context.getImageData(0, 0, side, side)
    return frameOf(side, side, data.buffer as ArrayBuffer)
  }

  /** As {@link cut} of a picture that does not change: the same square is the same frame, so the model looks once. */
  cutStill(picture: CanvasImageSource, square: Square): Frame | null {
    const key = `${square.x},${square.y},${square.side}`
    if (this.last?.key === key) return this.last.frame
    const frame = this.cut(picture, square)
    this.last = frame && { key, frame }
    return frame
  }

  /** To be called when the still picture becomes another. */
  forget(): void {
    this.last = null
  }
}

/** RGBA pixels as a frame with an id of its own. */
export function frameOf(width: number, height: number, rgba: ArrayBuffer): Frame {
  return { id: ++frames, width, height, rgba }
}
