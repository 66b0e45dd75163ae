/** Where the pin is, and how much around it the model sees. */

import { cropAround, LEAST_PART, type Point, type Square, USUAL_PART } from 'phantom-edge-web'

import { clamp, type View } from './view'

/** Of the square, per arrow key. */
const STEP = 0.15

export class Aim {
  /** In parts of the source's width and height, so that it survives a rotation or another resolution. */
  at: Point = { x: 0.5, y: 0.42 }
  /** Whether the model sees the largest square instead: as long as nobody has pointed at anything, and when asked to. */
  isWhole = true
  private size = USUAL_PART

  /** Side of the square around the pin, in parts of the picture's shorter side, 0.1 to 1. */
  get part(): number {
    return this.size
  }

  set part(part: number) {
    this.size = clamp(part, LEAST_PART, 1)
    this.isWhole = false
  }

  /** The side that a square begins with, once somebody points. */
  startWith(part: number): void {
    this.size = clamp(part, LEAST_PART, 1)
  }

  /** The pin in source pixels, kept on the visible part. */
  centre(view: View): Point {
    return view.toSource(view.toStage({ x: this.at.x * view.source.width, y: this.at.y * view.source.height }))
  }

  /** Points at `point`, in source pixels. */
  pointAt(view: View, point: Point): void {
    this.at = { x: point.x / view.source.width, y: point.y / view.source.height }
    this.isWhole = false
  }

  /** Moves the pin by a part of the square: `by` is -1, 0 or 1 along each side. */
  step(view: View, by: Point): void {
    const centre = this.centre(view)
    const step = this.square(view, centre).side * STEP
    const x = clamp(centre.x + by.x * step, 0, view.source.width)
    const y = clamp(centre.y + by.y * step, 0, view.source.height)
    this.pointAt(view, view.toSource(view.toStage({ x, y })))
  }

  /** What the model sees of the source: around the pin, or around another point of it (source pixels). */
  square(view: View, centre: Point = this.centre(view)): Square {
    if (this.isWhole) return view.largestSquare(centre)
    const { width, height } = view.source
    return cropAround(view.source, { x: centre.x / width, y: centre.y / height }, this.part)
  }
}
