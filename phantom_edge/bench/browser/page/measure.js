// The same rows as phantom_edge/bench/measure.py, timed with performance.now() (5 microseconds when isolated).

import { preprocess } from './golden.js'
import { largest } from './phantom.js'

const WARM_STEPS = 4 // per warm-up prompt
const SOAK_TOKENS = 256 // generated per answer while soaking, then the prompt again, as in use
const WINDOW = 2 // seconds of generating per point of a soak's curve, at least
const SOAK_POINTS = 200

export async function measure(phantom, golden, { settings, context, tileSize }, step) {
  const samples = { first_token: [], preprocess: [], vision: [], prefill: [] }
  const total = settings.warmup + settings.repeats
  for (let n = 0; n < total; n++) {
    await step(`first token, ${n + 1} of ${total}`)
    const parts = await firstToken(phantom, golden, tileSize)
    if (n >= settings.warmup) for (const [key, seconds] of Object.entries(parts)) samples[key].push(seconds)
  }
  for (const depth of settings.depths) {
    await step(`decoding at ${depth} cached tokens`)
    samples[`decode@${depth}`] = await decodeRates(phantom, depth, settings)
  }
  return samples
}

async function firstToken(phantom, golden, side) {
  const cache = phantom.emptyCache()
  const marks = [performance.now()]
  const pixels = await preprocess(golden.picture, side)
  marks.push(performance.now())
  const image = await phantom.encode([pixels])
  marks.push(performance.now())
  largest(await phantom.prefill(golden.input_ids, cache, image))
  marks.push(performance.now())
  const [a, b, c, d] = marks.map((mark) => mark / 1000)
  release(cache)
  return { first_token: d - a, preprocess: b - a, vision: c - b, prefill: d - c }
}

async function decodeRates(phantom, depth, { warmup, steps }) {
  const cache = phantom.emptyCache()
  const ids = filler(phantom.job, depth + 1)
  if (depth) await phantom.prefill(ids.slice(0, depth), cache)
  let token = ids[depth]
  for (let n = 0; n < WARM_STEPS * warmup; n++) token = await phantom.next(token, cache)
  const rates = []
  for (let n = 0; n < steps; n++) {
    const start = performance.now()
    token = await phantom.next(token, cache)
    rates.push(1000 / (performance.now() - start))
  }
  release(cache)
  return rates
}

/** Answer again and again for so many minutes: [seconds, tokens per second] points. */
export async function soak(phantom, golden, minutes, step) {
  const image = await phantom.encode([golden.pixel_values])
  const begin = performance.now(), end = begin + 60_000 * minutes
  const window = Math.max(WINDOW, (60 * minutes) / SOAK_POINTS)
  const points = []
  let tokens = 0, busy = 0
  for (;;) {
    const cache = phantom.emptyCache()
    let token = largest(await phantom.prefill(golden.input_ids, cache, image))
    const count = Math.min(SOAK_TOKENS, phantom.job.context - cache.length)
    for (let n = 0; n < count; n++) {
      const start = performance.now()
      token = await phantom.next(token, cache)
      const now = performance.now()
      tokens += 1
      busy += (now - start) / 1000
      if (busy >= window || now >= end) {
        points.push([(now - begin) / 1000, tokens / busy])
        await step(`soaking, ${((now - begin) / 60_000).toFixed(1)} of ${minutes} minutes, ${(tokens / busy).toFixed(1)} tok/s`)
        tokens = busy = 0
      }
      if (now >= end) {
        release(cache)
        return points
      }
    }
    release(cache)
  }
}

function release(cache) {
  for (const tensor of Object.values(cache.tensors)) tensor.dispose()
}

/** Ids to fill a cache with: the first token, then spread over the vocabulary, none that ends or holds an image. */
function filler({ firstToken, imageToken, endTokens, vocabulary }, count) {
  const ids = [firstToken]
  let state = 1
  while (ids.length < count) {
    state = (state * 48271) % 2147483647 // Lehmer's generator: below 2^53, so exact
    const id = state % vocabulary
    if (id !== imageToken && !endTokens.includes(id)) ids.push(id)
  }
  return ids
}
