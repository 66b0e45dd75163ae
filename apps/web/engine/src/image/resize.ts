/**
 * Bicubic resizing with antialiasing, equal to Pillow's to the last bit: what the model was trained and checked with.
 *
 * A canvas cannot be used for this: each browser resamples in its own way, most without the wider filter that shrinking
 * needs. Keys' cubic convolution with a = -1/2, its support stretched by the scale when the picture shrinks, weights
 * in fixed point with 22 fractional bits, eight bits between the two passes, in the order of Pillow 13.
 */

const SHARPNESS = -0.5
const SUPPORT = 2
const FRACTION_BITS = 22
const HALF = 1 << (FRACTION_BITS - 1)

/** Eight-bit pixels, row by row, `channels` values each. */
export interface Pixels {
  readonly width: number
  readonly height: number
  readonly channels: 3 | 4
  readonly data: Uint8Array | Uint8ClampedArray
}

type Rgb = Pixels & { readonly channels: 3; readonly data: Uint8Array }

interface Weights {
  /** First source position and number of source positions of each output position. */
  readonly first: Int32Array
  readonly count: Int32Array
  /** Fixed-point weights, `stride` per output position. */
  readonly values: Int32Array
  readonly stride: number
}

/** `image` at `width` x `height`, RGB: a fourth channel is dropped. */
export function resize(image: Pixels, width: number, height: number): Rgb {
  // Since Pillow 13 a picture that loses much height goes through the columns first (its pull request 9549). With eight
  // bits in between the order shows. Squares, which this app cuts, come out the same in every version.
  const columnsFirst = height < image.height && image.height - height > 2 * (image.width - width)
  const first = columnsFirst ? resizeColumns(resizeRows(image, image.width), height) : resizeRows(image, width)
  return columnsFirst ? resizeRows(first, width) : resizeColumns(first, height)
}

/** Pixels of one tile as the vision encoder takes them: [3, side, side], RGB in 0..1, not normalised. */
export function pixelValues(image: Pixels, side: number): Float32Array {
  const { data } = resize(image, side, side)
  const plane = side * side
  const values = new Float32Array(3 * plane) // [3, S, S]
  for (let at = 0, pixel = 0; pixel < plane; pixel++) {
    for (let channel = 0; channel < 3; channel++) values[channel * plane + pixel] = data[at++] / 255
  }
  return values
}

/** Keys' cubic convolution kernel. */
function cubic(distance: number): number {
  const x = Math.abs(distance)
  if (x < 1) return ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1
  if (x < 2) return ((x - 5) * x + 8) * x * SHARPNESS - 4 * SHARPNESS
  return 0
}

function weightsFor(from: number, to: number): Weights {
  const scale = from / to
  const stretch = Math.max(scale, 1)
  const reach = SUPPORT * stretch
  const stride = Math.ceil(reach) * 2 + 1
  const first = new Int32Array(to)
  const count = new Int32Array(to)
  const values = new Int32Array(to * stride)
  const exact = new Float64Array(stride)
  for (let out = 0; out < to; out++) {
    const centre = (out + 0.5) * scale
    const begin = Math.max(Math.trunc(centre - reach + 0.5), 0)
    const length = Math.min(Math.trunc(centre + reach + 0.5), from) - begin
    let total = 0
    for (let n = 0; n < length; n++) {
      exact[n] = cubic((n + begin - centre + 0.5) / stretch)
      total += exact[n]
    }
    for (let n = 0; n < length; n++) {
      const weight = (exact[n] / total) * (1 << FRACTION_BITS)
      values[out * stride + n] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5)
    }
    first[out] = begin
    count[out] = length
  }
  return { first, count, values, stride }
}

function clamp8(sum: number): number {
  const value = sum >> FRACTION_BITS
  return value < 0 ? 0 : value > 255 ? 255 : value
}

/** [H, W, channels] to [H, to, 3]. */
function resizeRows(image: Pixels, to: number): Rgb {
  const { width, height, channels, data } = image
  const out = new Uint8Array(height * to * 3)
  if (to === width) {
    for (let pixel = 0, at = 0; pixel < width * height; pixel++) {
      for (let channel = 0; channel < 3; channel++) out[at++] = data[pixel * channels + channel]
    }
    return { width, height, channels: 3, data: out }
  }
  const { first, count, values, stride } = weightsFor(width, to)
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      let red = HALF
      let green = HALF
      let blue = HALF
      let source = (y * width + first[x]) * channels
      for (let n = 0, w = x * stride; n < count[x]; n++, w++, source += channels) {
        red += data[source] * values[w]
        green += data[source + 1] * values[w]
        blue += data[source + 2] * values[w]
      }
      out[at++] = clamp8(red)
      out[at++] = clamp8(green)
      out[at++] = clamp8(blue)
    }
  }
  return { width: to, height, channels: 3, data: out }
}

/** [H, W, 3] to [to, W, 3]. */
function resizeColumns(image: Rgb, to: number): Rgb {
  const { width, height, data } = image
  if (to === height) return image
  const { first, count, values, stride } = weightsFor(height, to)
  const line = width * 3
  const out = new Uint8Array(to * line)
  const sums = new Int32Array(line)
  for (let y = 0; y < to; y++) {
    sums.fill(HALF)
    for (let n = 0; n < count[y]; n++) {
      const weight = values[y * stride + n]
      const source = (first[y] + n) * line
      for (let x = 0; x < line; x++) sums[x] += data[source + x] * weight
    }
    for (let x = 0; x < line; x++) out[y * line + x] = clamp8(sums[x])
  }
  return { width, height: to, channels: 3, data: out }
}
