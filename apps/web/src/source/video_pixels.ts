/**
 * The pixels of a playing video without a canvas, where the browser has WebCodecs.
 *
 * Drawing a video on a canvas costs a conversion of the whole frame, and Chromium without a GPU keeps each of them: a
 * megabyte per frame, for ever. Copying out of a VideoFrame converts the square alone and keeps nothing.
 */

import type { Square } from 'phantom-edge-web'

/** RGBA of `square`, or null where this browser cannot: it lacks WebCodecs, the conversion, or the frame is turned. */
export async function copyPixels(video: HTMLVideoElement, square: Square): Promise<ArrayBuffer | null> {
  if (typeof VideoFrame === 'undefined') return null
  let frame: VideoFrame | undefined
  try {
    frame = new VideoFrame(video)
    if (!isPlain(frame, video)) return null
    const rect = evenAround(square, video.videoWidth, video.videoHeight)
    const left = frame.visibleRect?.x ?? 0
    const top = frame.visibleRect?.y ?? 0
    const options = { rect: { ...rect, x: left + rect.x, y: top + rect.y }, format: 'RGBA' as const }
    const bytes = rect.width * rect.height * 4
    // A browser that does not know the option would give the camera's own format, which is smaller.
    if (frame.allocationSize(options) !== bytes) return null
    const rgba = new ArrayBuffer(bytes)
    const [plane] = await frame.copyTo(rgba, options)
    if (plane?.stride !== rect.width * 4) return null
    return inside(rgba, rect, square)
  } catch {
    return null // no frame yet, or a rectangle or a format that this browser does not copy
  } finally {
    frame?.close()
  }
}

interface Rect {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** The least rectangle around `square` with even edges: a camera's colours come in pairs of pixels. */
function evenAround({ x, y, side }: Square, width: number, height: number): Rect {
  const from = { x: x - (x % 2), y: y - (y % 2) }
  const to = (end: number, most: number) => Math.min(end + (end % 2), most)
  return { ...from, width: to(x + side, width) - from.x, height: to(y + side, height) - from.y }
}

/** The pixels of `square` out of those of a rectangle around it. */
function inside(rgba: ArrayBuffer, rect: Rect, { x, y, side }: Square): ArrayBuffer {
  if (rect.width === side && rect.height === side) return rgba
  const pixels = new Uint8Array(rgba)
  const cut = new Uint8Array(side * side * 4)
  for (let row = 0; row < side; row++) {
    const from = ((y - rect.y + row) * rect.width + (x - rect.x)) * 4
    cut.set(pixels.subarray(from, from + side * 4), row * side * 4)
  }
  return cut.buffer
}

/** Whether the frame's pixels are the video's as it is shown: not turned, mirrored or scaled. */
function isPlain(frame: VideoFrame, video: HTMLVideoElement): boolean {
  const { rotation = 0, flip = false } = frame as VideoFrame & { rotation?: number; flip?: boolean }
  const shown = frame.displayWidth === video.videoWidth && frame.displayHeight === video.videoHeight
  const stored = frame.visibleRect?.width === video.videoWidth && frame.visibleRect.height === video.videoHeight
  return rotation === 0 && !flip && shown && stored
}
