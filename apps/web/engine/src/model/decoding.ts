/** Running ids through the graphs: a prompt in chunks, an answer token by token. */

import type { Manifest } from '../bundle/manifest'
import { Failure } from '../failure'
import type { Cache, Graphs } from './graphs'

/** Logits [vocabulary] of the last position, and the cache that holds everything up to it. */
export interface Decoded {
  readonly logits: Float32Array
  readonly cache: Cache
}

/**
 * Continues `cache` with `ids`, their image tokens taken from `features` in order, in calls of at most `chunk` tokens.
 * `cache` itself stays as it is, and stays the caller's.
 */
export async function prefill(
  graphs: Graphs,
  manifest: Manifest,
  ids: readonly number[],
  cache: Cache,
  features?: Float32Array,
): Promise<Decoded> {
  const { chunk, shape, ids: known } = manifest
  let result: Decoded | undefined
  let row = 0
  for (let start = 0; start < ids.length; start += chunk) {
    const part = ids.slice(start, start + chunk)
    const embeds = await graphs.embed(part)
    for (const [n, id] of part.entries()) {
      if (id !== known.image || !features) continue
      embeds.set(features.subarray(row * shape.hidden, (row + 1) * shape.hidden), n * shape.hidden)
      row++
    }
    const earlier = result?.cache
    result = await graphs.decode(embeds, earlier ?? cache)
    if (earlier) graphs.free(earlier)
  }
  if (!result) throw new Failure('prompt', 'The prompt is empty.')
  return result
}

/** Continues with one token. Takes over the cache. */
export async function append(graphs: Graphs, token: number, cache: Cache): Promise<Decoded> {
  const next = await graphs.decode(await graphs.embed([token]), cache)
  graphs.free(cache)
  return next
}

/**
 * The likeliest token, the first of equals.
 *
 * @throws {Failure} `model` for logits with NaN or infinity, of which any token could come.
 */
export function largest(logits: Float32Array): number {
  let best = 0
  for (let n = 0; n < logits.length; n++) {
    if (!Number.isFinite(logits[n])) {
      throw new Failure('model', 'This model computes numbers that are not finite here: choose another one.')
    }
    if (logits[n] > logits[best]) best = n
  }
  return best
}
