/** Pixels as they were at one moment, so that several questions about them cost one look. */

export interface Frame {
  /** Frames of one number are the same picture. */
  readonly id: number
  readonly width: number
  readonly height: number
  /** Four bytes a pixel, row by row. */
  readonly rgba: ArrayBuffer
}

let frames = 0

/** RGBA pixels as a frame of its own; they must not change any more. */
export function frameOf(width: number, height: number, rgba: ArrayBuffer): Frame {
  return { id: ++frames, width, height, rgba }
}
