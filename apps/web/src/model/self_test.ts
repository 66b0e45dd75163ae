/** The bundle's own test: recorded inputs with what torch computed for the same integers, run again on this device. */

import { readSafetensors, type StoredTensor } from '../bundle/safetensors'
import { Failure } from '../failure'
import { pixelValues } from '../image/resize'
import type { CheckRow } from './engine'
import { largest, type Session } from './session'

/** Largest difference of a pixel in 0..1: two steps of 255. Ours is meant to be none. */
const PIXEL_LIMIT = 2 / 255
/**
 * Root mean square differences over the reference's. Where activations are rounded, to integers or to fp16, a value on
 * a rounding boundary may fall to the other side: about 3 % after all layers. In fp32 only the order of summation
 * differs.
 */
const LIMITS = { rounded: { features: 0.05, logits: 0.1 }, exact: { features: 1e-3, logits: 1e-3 } }

/** Runs every stage on its recorded input, so that a fault shows where it is. Calls `onRow` as each is done. */
export async function runGolden(
  session: Session,
  buffer: ArrayBuffer,
  exact: boolean,
  onRow: (row: CheckRow) => void,
): Promise<void> {
  const recorded = readSafetensors(buffer)
  const { manifest, graphs } = session
  const limits = exact ? LIMITS.exact : LIMITS.rounded

  const image = tensor(recorded, 'image', Uint8Array) // [H, W, 3]
  const wanted = tensor(recorded, 'pixel_values', Float32Array) // [1, 3, S, S]
  const [height, width] = image.shape as [number, number]
  const pixels = pixelValues({ width, height, channels: 3, data: image.data }, manifest.tiles.size)
  const worst = largestDifference(pixels, wanted.data)
  onRow(row('Picture to pixels', worst, PIXEL_LIMIT))

  const features = await graphs.encodeImage(wanted.data)
  const featuresWanted = tensor(recorded, 'image_features', Float32Array).data // [1, N, hidden]
  onRow(row('Image tokens', relative(features, featuresWanted), limits.features))

  const ids = Array.from(tensor(recorded, 'input_ids', BigInt64Array).data, Number) // [1, S]
  const expected = Array.from(tensor(recorded, 'generated_ids', BigInt64Array).data, Number)
  let { logits, cache } = await session.prefill(ids, graphs.emptyCache(), features)
  const logitsWanted = tensor(recorded, 'prefill_logits', Float32Array).data // [1, vocabulary]
  onRow(row('Logits', relative(logits, logitsWanted), limits.logits))

  // The recorded tokens are fed whatever this device would choose: one tie must not count against all that follows it.
  const tie = limits.logits * rms(logitsWanted)
  let equal = 0
  let passed = true
  for (const token of expected) {
    const best = largest(logits)
    if (best === token) equal++
    else if (logits[best] - logits[token] > tie) passed = false
    const next = await graphs.decode(await graphs.embed([token]), cache)
    graphs.free(cache)
    ;({ logits, cache } = next)
  }
  graphs.free(cache)
  onRow({ name: 'Tokens', measured: `${equal} of ${expected.length}`, limit: 'equal, or a tie', passed })
}

function row(name: string, value: number, limit: number): CheckRow {
  return { name, measured: value.toExponential(1), limit: `≤ ${limit.toExponential(1)}`, passed: value <= limit }
}

function tensor<T extends StoredTensor['data']>(
  recorded: Map<string, StoredTensor>,
  name: string,
  type: abstract new (...args: never[]) => T,
): { shape: readonly number[]; data: T } {
  const found = recorded.get(name)
  if (!(found?.data instanceof type)) throw new Failure('damaged', `The bundle's test file has no ${name}.`)
  return { shape: found.shape, data: found.data }
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Infinity
  let worst = 0
  for (let n = 0; n < a.length; n++) worst = Math.max(worst, Math.abs(a[n] - b[n]))
  return worst
}

function rms(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length)
}

/** Root mean square of a - b over that of b. */
function relative(a: Float32Array, b: Float32Array): number {
  return a.length === b.length ? rms(a.map((value, n) => value - b[n])) / rms(b) : Infinity
}
