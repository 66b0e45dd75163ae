/** Where a picture lies on the stage, and the largest square of it that shows. */

import { cropAround, type Point, type Size, type Square } from 'phantom-edge-web'

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

  /**
   * The largest square that can be seen, as close around `centre` (source pixels) as its edges allow: the whole picture
   * in all apps, because the model gets one tile, and was not trained on rectangles squeezed into it.
   */
  largestSquare(centre: Point): Square {
    const { from, to } = this.visible
    const [left, width] = wholePixels(from.x, to.x)
    const [top, height] = wholePixels(from.y, to.y)
    const at = { x: clamp((centre.x - left) / width, 0, 1), y: clamp((centre.y - top) / height, 0, 1) }
    const square = cropAround({ width, height }, at, 1)
    return { ...square, x: left + square.x, y: top + square.y }
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

/** The first of the whole pixels between two edges and how many there are; a rounded scale must not lose one. */
function wholePixels(from: number, to: number): [number, number] {
  const first = Math.ceil(from - 1e-6)
  return [first, Math.max(1, Math.floor(to + 1e-6) - first)]
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), Math.max(least, most))
}
