/**
 * The pixels of a playing video without a canvas, where the browser has WebCodecs.
 *
 * Drawing a video on a canvas costs a conversion of the whole frame, and Chromium without a GPU keeps each of them: a
 * megabyte per frame, for ever. Copying out of a VideoFrame converts the rectangle alone and keeps nothing.
 */

import type { Rectangle } from '../crop'

/** RGBA of `part`, or null where this browser cannot: it lacks WebCodecs, the conversion, or the frame is turned. */
export async function copyPixels(video: HTMLVideoElement, part: Rectangle): Promise<ArrayBuffer | null> {
  if (typeof VideoFrame === 'undefined') return null
  let frame: VideoFrame | undefined
  try {
    frame = new VideoFrame(video)
    if (!isPlain(frame, video)) return null
    const rect = evenAround(part, video.videoWidth, video.videoHeight)
    const left = frame.visibleRect?.x ?? 0
    const top = frame.visibleRect?.y ?? 0
    const options = { rect: { ...rect, x: left + rect.x, y: top + rect.y }, format: 'RGBA' as const }
    const bytes = rect.width * rect.height * 4
    // A browser that does not know the option would give the camera's own format, which is smaller.
    if (frame.allocationSize(options) !== bytes) return null
    const rgba = new ArrayBuffer(bytes)
    const [plane] = await frame.copyTo(rgba, options)
    if (plane?.stride !== rect.width * 4) return null
    return inside(rgba, rect, part)
  } catch {
    return null // no frame yet, or a rectangle or a format that this browser does not copy
  } finally {
    frame?.close()
  }
}

/** The least rectangle around `part` with even edges: a camera's colours come in pairs of pixels. */
function evenAround(part: Rectangle, width: number, height: number): Rectangle {
  const from = { x: part.x - (part.x % 2), y: part.y - (part.y % 2) }
  const to = (end: number, most: number) => Math.min(end + (end % 2), most)
  return { ...from, width: to(part.x + part.width, width) - from.x, height: to(part.y + part.height, height) - from.y }
}

/** The pixels of `part` out of those of a rectangle around it. */
function inside(rgba: ArrayBuffer, rect: Rectangle, { x, y, width, height }: Rectangle): ArrayBuffer {
  if (rect.width === width && rect.height === height) return rgba
  const pixels = new Uint8Array(rgba)
  const cut = new Uint8Array(width * height * 4)
  for (let row = 0; row < height; row++) {
    const from = ((y - rect.y + row) * rect.width + (x - rect.x)) * 4
    cut.set(pixels.subarray(from, from + width * 4), row * width * 4)
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
