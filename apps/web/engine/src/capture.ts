/** The pixels of whatever a page may have as a picture. */

import { type Crop, partOf, type Rectangle, type Size, type Square } from './crop'
import { asFailure, Failure } from './failure'
import { type Frame, frameOf } from './frame'
import { copyPixels } from './image/video_pixels'

/** What can be asked about. A text is the address of a picture of the page's own origin. */
export type Picture =
  | Frame
  | ImageBitmap
  | ImageData
  | VideoFrame
  | HTMLImageElement
  | HTMLVideoElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | Blob
  | URL
  | string

type Drawable = Exclude<Picture, Frame | ImageData | Blob | URL | string>

const MOST_PIXELS = 64 << 20
const MOST_BYTES = 64 << 20

let canvas: OffscreenCanvas | null = null

/**
 * The pixels of a picture as they are now, upright, on white where it is transparent; with `crop` those of a square of it.
 * Asking about one frame several times costs one look.
 *
 * @throws {Failure} `picture` for what is none, is not loaded yet, is too large, or may not be read; `network`.
 */
export async function capture(picture: Picture, crop?: Crop | Square): Promise<Frame> {
  if (isFrame(picture) && crop === undefined) return picture
  try {
    const { drawable, close } = await open(picture)
    try {
      return await read(drawable, crop)
    } finally {
      close()
    }
  } catch (error) {
    throw asFailure(error, 'picture')
  }
}

function isFrame(picture: unknown): picture is Frame {
  return typeof picture === 'object' && picture !== null && 'rgba' in picture
}

async function read(drawable: Drawable, crop?: Crop | Square): Promise<Frame> {
  const size = sizeOf(drawable)
  const part = partOf(size, crop)
  if (part.width * part.height > MOST_PIXELS) {
    throw new Failure('picture', `A picture may have ${MOST_PIXELS >> 20} megapixels: make it smaller, or crop it.`)
  }
  const copied = drawable instanceof HTMLVideoElement ? await copyPixels(drawable, part) : null
  return frameOf(part.width, part.height, copied ?? drawn(drawable, part))
}

/** What can be drawn, of what first must be fetched or decoded; `close` gives back what this took. */
async function open(picture: Picture): Promise<{ drawable: Drawable; close: () => void }> {
  // Without pixels it goes on, and is refused by its size.
  if (picture instanceof HTMLImageElement) await picture.decode().catch(() => undefined)
  const source = pixelsOf(picture) ?? (await blobOf(picture))
  if (source === null) return { drawable: picture as Drawable, close: () => undefined }
  try {
    const drawable = await createImageBitmap(source)
    return { drawable, close: () => drawable.close() }
  } catch {
    throw new Failure('picture', 'This file is not a picture that the browser can show. Choose a JPEG or a PNG.')
  }
}

function pixelsOf(picture: Picture): ImageData | null {
  if (picture instanceof ImageData) return picture
  return isFrame(picture) ? new ImageData(new Uint8ClampedArray(picture.rgba), picture.width, picture.height) : null
}

async function blobOf(picture: Picture): Promise<Blob | null> {
  const isAddress = typeof picture === 'string' || picture instanceof URL
  const blob = isAddress ? await fetched(picture) : picture instanceof Blob ? picture : null
  if (blob && blob.size > MOST_BYTES) throw new Failure('picture', 'This file is larger than 64 MB. Choose a smaller picture.')
  return blob
}

async function fetched(address: string | URL): Promise<Blob> {
  const url = new URL(address, document.baseURI)
  if (url.origin !== location.origin && url.protocol !== 'data:') {
    throw new Failure('picture', 'An address must be of this page’s own origin. Fetch the picture, and ask about the Blob.')
  }
  const response = await fetch(url).catch(() => null)
  if (!response?.ok) throw new Failure('network', 'The picture cannot be loaded. Check its address and the connection.')
  return response.blob()
}

function sizeOf(drawable: Drawable): Size {
  const { width, height } = shownSize(drawable)
  if (width > 0 && height > 0) return { width, height }
  throw new Failure('picture', 'This is no picture, or there is none yet: wait until it is loaded.')
}

function shownSize(drawable: Drawable): Size {
  if (typeof drawable !== 'object' || drawable === null) return { width: 0, height: 0 }
  if ('naturalWidth' in drawable) return { width: drawable.naturalWidth, height: drawable.naturalHeight }
  if ('videoWidth' in drawable) {
    const isShown = drawable.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA
    return isShown ? { width: drawable.videoWidth, height: drawable.videoHeight } : { width: 0, height: 0 }
  }
  if ('displayWidth' in drawable) return { width: drawable.displayWidth, height: drawable.displayHeight }
  return drawable
}

/** RGBA of a part, pixel by pixel. */
function drawn(drawable: Drawable, { x, y, width, height }: Rectangle): ArrayBuffer {
  canvas ??= new OffscreenCanvas(1, 1)
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height })
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (!context) throw new Failure('memory', 'This device ran out of memory. Close other tabs, or use a smaller picture.')
  context.fillStyle = 'white'
  context.fillRect(0, 0, width, height)
  context.drawImage(drawable, x, y, width, height, 0, 0, width, height)
  try {
    return context.getImageData(0, 0, width, height).data.buffer
  } catch {
    canvas = null // it stays unreadable
    throw new Failure('picture', 'The browser does not let this page read the picture: it is from another origin, without CORS.')
  }
}
