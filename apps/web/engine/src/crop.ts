/** Which square of a picture the model sees. */

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

function within(start: number, most: number): number {
  return Math.min(Math.max(start, 0), Math.max(0, most))
}
