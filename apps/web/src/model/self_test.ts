/** The bundle's own test: recorded inputs with what torch computed for the same integers, run again on this device. */

import type { Golden } from '../bundle/golden'
import type { Manifest } from '../bundle/manifest'
import { pixelValues } from '../image/resize'
import { append, largest, prefill } from './decoding'
import type { CheckRow } from './engine'
import type { Graphs } from './graphs'

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
  graphs: Graphs,
  manifest: Manifest,
  golden: Golden,
  exact: boolean,
  onRow: (row: CheckRow) => void,
): Promise<void> {
  const limits = exact ? LIMITS.exact : LIMITS.rounded

  const pixels = pixelValues(golden.image, manifest.tiles.size)
  onRow(row('Picture to pixels', largestDifference(pixels, golden.pixelValues), PIXEL_LIMIT))

  const features = await graphs.encodeImage(golden.pixelValues)
  onRow(row('Image tokens', relative(features, golden.imageFeatures), limits.features))

  let { logits, cache } = await prefill(graphs, manifest, golden.inputIds, graphs.emptyCache(), features)
  onRow(row('Logits', relative(logits, golden.prefillLogits), limits.logits))

  // The recorded tokens are fed whatever this device would choose: one tie must not count against all that follows it.
  const tie = limits.logits * rms(golden.prefillLogits)
  let equal = 0
  let passed = true
  for (const token of golden.generatedIds) {
    const best = largest(logits)
    if (best === token) equal++
    else if (logits[best] - logits[token] > tie) passed = false
    ;({ logits, cache } = await append(graphs, token, cache))
  }
  graphs.free(cache)
  onRow({ name: 'Tokens', measured: `${equal} of ${golden.generatedIds.length}`, limit: 'equal, or a tie', passed })
}

function row(name: string, value: number, limit: number): CheckRow {
  return { name, measured: value.toExponential(1), limit: `≤ ${limit.toExponential(1)}`, passed: value <= limit }
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
