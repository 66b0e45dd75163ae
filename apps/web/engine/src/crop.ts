/** Which square of a picture the model sees. */

import { Failure } from './failure'

/** Side of the square around a point, in parts of the picture's shorter side. */
export const USUAL_PART = 0.4
export const LEAST_PART = 0.1

export interface Size {
  readonly width: number
  readonly height: number
}

export interface Point {
  readonly x: number
  readonly y: number
}

/** A square of whole source pixels. */
export interface Square extends Point {
  readonly side: number
}

export type Rectangle = Point & Size

/** A square around a point: `x` and `y` from the left and the top, 0 to 1; `size` of the shorter side, 0.1 to 1. */
export interface Crop extends Point {
  /** Without it {@link USUAL_PART}. */
  readonly size?: number | undefined
}

/**
 * The square around a point of a picture, by the rule that every language has: its side is `part` of the picture's
 * shorter side, its centre the point (0 to 1 from the left and the top), and it is moved, never shrunk, into the picture.
 */
export function cropAround({ width, height }: Size, at: Point, part: number): Square {
  const side = Math.max(1, Math.floor(part * Math.min(width, height) + 0.5))
  return {
    x: within(Math.floor(at.x * width - side / 2 + 0.5), width - side),
    y: within(Math.floor(at.y * height - side / 2 + 0.5), height - side),
    side,
  }
}

/**
 * The part of a picture that is meant: a square around a point, one of whole pixels, or all of it.
 *
 * @throws {Failure} `picture` for one that is not in the picture.
 */
export function partOf(picture: Size, crop?: Crop | Square): Rectangle {
  if (crop === undefined) return { x: 0, y: 0, width: picture.width, height: picture.height }
  const { x, y, side } = 'side' in crop ? crop : around(picture, crop)
  const fits = (start: number, length: number) => Number.isInteger(start) && start >= 0 && start + side <= length
  if (!Number.isInteger(side) || side < 1 || !fits(x, picture.width) || !fits(y, picture.height)) {
    throw new Failure('picture', `The square is not in the picture of ${picture.width} by ${picture.height} pixels.`)
  }
  return { x, y, width: side, height: side }
}

function around(picture: Size, { x, y, size = USUAL_PART }: Crop): Square {
  const isPart = (value: number, least: number) => value >= least && value <= 1
  if (!isPart(x, 0) || !isPart(y, 0) || !isPart(size, LEAST_PART)) {
    throw new Failure('picture', `A crop's x and y are 0 to 1 from the left and the top, its size ${LEAST_PART} to 1.`)
  }
  return cropAround(picture, { x, y }, size)
}

function within(start: number, most: number): number {
  return Math.min(Math.max(start, 0), Math.max(0, most))
}
