// The bundle's golden arrays, and the check that this browser computes what they say.

const VIEWS = { U8: Uint8Array, F32: Float32Array, I64: BigInt64Array }
const HEADER = 8 // bytes of a safetensors file that hold its header's length

export async function readGolden(url) {
  const buffer = await (await fetch(new URL(url, import.meta.url))).arrayBuffer()
  const size = Number(new DataView(buffer).getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, HEADER, size)))
  const found = {}
  delete header.__metadata__
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
    const values = new VIEWS[dtype](buffer.slice(HEADER + size + from, HEADER + size + to))
    found[name] = dtype === 'I64' ? Array.from(values, Number) : values
    if (name === 'image') found.imageShape = shape
  }
  return { ...found, picture: await asPng(found.image, found.imageShape) }
}

/** Relative errors of every stage, and how many greedy tokens agree. Throws when one is beyond the limit. */
export async function checkGolden(phantom, golden, job) {
  const pixels = await preprocess(golden.picture, job.tileSize)
  const image = await phantom.encode([golden.pixel_values])
  const cache = phantom.emptyCache()
  let logits = await phantom.prefill(golden.input_ids, cache, image)
  const errors = {
    pixels: relativeError(pixels, golden.pixel_values),
    'image tokens': relativeError(image, golden.image_features),
    'prefill logits': relativeError(logits, golden.prefill_logits),
  }
  for (const [name, value] of Object.entries(errors)) {
    if (!(value <= job.limit)) {
      throw failed(`${name} differ by ${value.toPrecision(2)} of their size (limit ${job.limit})`)
    }
  }
  let same = 0
  for (const wanted of golden.generated_ids) {
    const token = logits.reduce((best, value, n) => (value > logits[best] ? n : best), 0)
    same += token === wanted
    logits = await phantom.decode(await phantom.embed([token]), cache)
  }
  const rounded = Object.entries(errors).map(([name, value]) => [name, Number(value.toPrecision(3))])
  return { ...Object.fromEntries(rounded), tokens: `${same} of ${golden.generated_ids.length}` }
}

/** A picture's bytes to one tile [3, S, S] in 0..1, as an app does it: decode, resize on a canvas, planes of floats. */
export async function preprocess(blob, side) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none' })
  const context = new OffscreenCanvas(side, side).getContext('2d', { willReadFrequently: true })
  context.drawImage(bitmap, 0, 0, side, side)
  const { data } = context.getImageData(0, 0, side, side)
  const plane = side * side
  const pixels = new Float32Array(3 * plane)
  for (let n = 0; n < plane; n++) {
    pixels[n] = data[4 * n] / 255
    pixels[plane + n] = data[4 * n + 1] / 255
    pixels[2 * plane + n] = data[4 * n + 2] / 255
  }
  return pixels
}

async function asPng(rgb, [height, width]) {
  const image = new ImageData(width, height)
  for (let n = 0; n < width * height; n++) {
    image.data.set([rgb[3 * n], rgb[3 * n + 1], rgb[3 * n + 2], 255], 4 * n)
  }
  const canvas = new OffscreenCanvas(width, height)
  canvas.getContext('2d').putImageData(image, 0, 0)
  return canvas.convertToBlob({ type: 'image/png' })
}

function failed(why) {
  const error = new Error(`the golden check failed: ${why}, so nothing was timed; run \`phantom-edge verify\` on the bundle`)
  return Object.assign(error, { golden: true })
}

function relativeError(found, wanted) {
  if (found.length !== wanted.length) throw failed(`${found.length} values where ${wanted.length} are expected`)
  let difference = 0, size = 0
  for (let n = 0; n < wanted.length; n++) {
    difference += (found[n] - wanted[n]) ** 2
    size += wanted[n] ** 2
  }
  return Math.sqrt(difference / Math.max(size, 1e-24))
}
