/** A picture from a file as a source: for devices without a camera, and to ask about a photo. */

import { capture, Failure, type Frame, type Size, type Square } from 'phantom-edge-web'

import { text } from '../i18n/text'
import { megabytes } from '../ui/format'
import { firstPicture, isClip } from './clip'
import { Cutter, type Source } from './source'

const MAX_SIDE = 2048 // the model sees far less, and a phone's photo of 50 megapixels would take 200 MB
const MAX_BYTES = 64e6

export class Picture implements Source {
  readonly kind = 'picture'
  readonly fit = 'contain'
  private readonly cutter = new Cutter()

  private constructor(
    private readonly canvas: HTMLCanvasElement,
    readonly size: Size,
  ) {}

  /** Decodes `file` and shows it in `canvas`. @throws {Failure} `picture`. */
  static async open(file: Blob, canvas: HTMLCanvasElement): Promise<Picture> {
    if (file.size > MAX_BYTES) throw new Failure('picture', text('mend.picture-large', { most: megabytes(MAX_BYTES) }))
    const bitmap = isClip(file) ? await firstPicture(file) : await decoded(file)
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height))
    const size = { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) }
    Object.assign(canvas, size)
    const context = canvas.getContext('2d')
    context?.drawImage(bitmap, 0, 0, size.width, size.height)
    bitmap.close()
    // Its transparent parts are shown as the engine sees them.
    const { rgba } = await capture(canvas)
    context?.putImageData(new ImageData(new Uint8ClampedArray(rgba), size.width, size.height), 0, 0)
    canvas.hidden = false
    return new Picture(canvas, size)
  }

  /** The same frame as long as the square is the same: the model then looks once for any number of questions. */
  async grab(square: Square): Promise<Frame | null> {
    return this.cutter.cutStill(this.canvas, square)
  }

  freeze(): void {}

  thaw(): void {}

  close(): void {
    this.canvas.hidden = true
  }
}

async function decoded(file: Blob): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file)
  } catch {
    throw new Failure('picture', text('mend.picture'))
  }
}
