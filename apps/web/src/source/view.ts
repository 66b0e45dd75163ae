/** Where a picture lies on the stage, and the largest square of it that shows. */

import type { Point, Size, Square } from 'phantom-edge-web'

/** `cover` fills the stage and hides what does not fit, as for the camera; `contain` shows the whole picture. */
export type Fit = 'cover' | 'contain'

/** A source of some size shown on a stage of another. */
export class View {
  private readonly scale: number
  private readonly left: number
  private readonly top: number

  constructor(
    readonly stage: Size,
    readonly source: Size,
    fit: Fit,
  ) {
    const across = stage.width / source.width
    const down = stage.height / source.height
    this.scale = fit === 'cover' ? Math.max(across, down) : Math.min(across, down)
    this.left = (stage.width - source.width * this.scale) / 2
    this.top = (stage.height - source.height * this.scale) / 2
  }

  toStage(point: Point): Point {
    return { x: this.left + point.x * this.scale, y: this.top + point.y * this.scale }
  }

  /** A point of the stage in source pixels, moved to the nearest visible one. */
  toSource(point: Point): Point {
    const { from, to } = this.visible
    return {
      x: clamp((point.x - this.left) / this.scale, from.x, to.x),
      y: clamp((point.y - this.top) / this.scale, from.y, to.y),
    }
  }

  /** The largest square that can be seen, as close around `centre` (source pixels) as its edges allow. */
  largestSquare(centre: Point): Square {
    const { from, to } = this.visible
    const side = Math.max(1, Math.floor(Math.min(to.x - from.x, to.y - from.y)))
    const x = Math.floor(clamp(centre.x - side / 2, from.x, to.x - side))
    const y = Math.floor(clamp(centre.y - side / 2, from.y, to.y - side))
    return { x: Math.max(0, x), y: Math.max(0, y), side }
  }

  /** The square on the stage, for the viewfinder. */
  squareOnStage(square: Square): Square {
    return { ...this.toStage(square), side: square.side * this.scale }
  }

  /** The part of the source that is on the stage. */
  private get visible(): { from: Point; to: Point } {
    const { stage, source, scale, left, top } = this
    const from = { x: Math.max(0, -left / scale), y: Math.max(0, -top / scale) }
    const to = {
      x: Math.min(source.width, (stage.width - left) / scale),
      y: Math.min(source.height, (stage.height - top) / scale),
    }
    return { from, to }
  }
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), Math.max(least, most))
}
