/**
 * The pixels of a playing video without a canvas, where the browser has WebCodecs.
 *
 * Drawing a video on a canvas costs a conversion of the whole frame, and Chromium without a GPU keeps each of them: a
 * megabyte per frame, for ever. Copying out of a VideoFrame converts the square alone and keeps nothing.
 */

import type { Square } from './crop'

/** RGBA of `square`, or null where this browser cannot: it lacks WebCodecs, the conversion, or the frame is turned. */
export async function copyPixels(video: HTMLVideoElement, square: Square): Promise<ArrayBuffer | null> {
  if (typeof VideoFrame === 'undefined') return null
  let frame: VideoFrame | undefined
  try {
    frame = new VideoFrame(video)
    if (!isPlain(frame, video)) return null
    const { x, y, side } = square
    const left = frame.visibleRect?.x ?? 0
    const top = frame.visibleRect?.y ?? 0
    const options = { rect: { x: left + x, y: top + y, width: side, height: side }, format: 'RGBA' as const }
    // A browser that does not know the option would give the camera's own format, which is smaller.
    if (frame.allocationSize(options) !== side * side * 4) return null
    const rgba = new ArrayBuffer(side * side * 4)
    const [plane] = await frame.copyTo(rgba, options)
    return plane?.stride === side * 4 ? rgba : null
  } catch {
    return null // no frame yet, or a rectangle or a format that this browser does not copy
  } finally {
    frame?.close()
  }
}

/** Whether the frame's pixels are the video's as it is shown: not turned, mirrored or scaled. */
function isPlain(frame: VideoFrame, video: HTMLVideoElement): boolean {
  const { rotation = 0, flip = false } = frame as VideoFrame & { rotation?: number; flip?: boolean }
  const shown = frame.displayWidth === video.videoWidth && frame.displayHeight === video.videoHeight
  const stored = frame.visibleRect?.width === video.videoWidth && frame.visibleRect.height === video.videoHeight
  return rotation === 0 && !flip && shown && stored
}
