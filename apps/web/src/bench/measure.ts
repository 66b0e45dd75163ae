/** The rows of `phantom_edge/bench/measure.py`, timed on the app's own session. */

import { append, largest, type Manifest, type Pixels, prefill, type Session } from 'phantom-edge-web/measuring'

import { type Key, number, type Values } from '../i18n/text'

const WARM_STEPS = 4 // per warm-up prompt
const SOAK_TOKENS = 256 // generated per answer while soaking, then the prompt again, as in use
const WINDOW = 2 // seconds of generating per point of a soak's curve, at least
const SOAK_POINTS = 200

export interface Settings {
  readonly warmup: number
  readonly repeats: number
  readonly steps: number
  readonly depths: readonly number[]
  /** Minutes. */
  readonly soak: number
}

/** Samples by row, in seconds and tokens per second. */
export type Samples = Record<string, number[]>
/** Says what is being done. */
export type Step = (key: Key, values?: Values) => Promise<void>

/** The first token of an answer about `image`, with its parts, and decoding at every depth of the cache. */
export async function measure(
  session: Session,
  image: Pixels,
  question: string,
  settings: Settings,
  step: Step,
): Promise<Samples> {
  const { warmup, repeats, depths } = settings
  const samples: Samples = { first_token: [], preprocess: [], vision: [], prefill: [] }
  for (let n = 0; n < warmup + repeats; n++) {
    await step('bench.first', { n: n + 1, of: warmup + repeats })
    const parts = await firstToken(session, image, question)
    if (n >= warmup) for (const [row, seconds] of Object.entries(parts)) samples[row]?.push(seconds)
  }
  for (const depth of depths) {
    await step('bench.decoding', { depth })
    samples[`decode@${depth}`] = await decodeRates(session, depth, settings)
  }
  return samples
}

/** Seconds of an answer of one token, as the app times it. The picture is a new one each time, so the model looks. */
async function firstToken(session: Session, image: Pixels, question: string): Promise<Record<string, number>> {
  const { signal } = new AbortController()
  const answer = await session.ask({ ...image }, question, { maxTokens: 1, signal, onText: () => undefined })
  const [total, preprocess, vision] = [answer.firstToken / 1000, answer.preprocess / 1000, answer.vision / 1000]
  return { first_token: total, preprocess, vision, prefill: total - preprocess - vision }
}

async function decodeRates({ graphs, manifest }: Session, depth: number, { warmup, steps }: Settings): Promise<number[]> {
  const ids = filler(manifest, depth + 1)
  const empty = graphs.emptyCache()
  let cache = depth ? (await prefill(graphs, manifest, ids.slice(0, depth), empty)).cache : empty
  let token = ids[depth] as number
  const rates: number[] = []
  for (let n = -WARM_STEPS * warmup; n < steps; n++) {
    const start = performance.now()
    const next = await append(graphs, token, cache)
    token = largest(next.logits)
    if (n >= 0) rates.push(1000 / (performance.now() - start))
    cache = next.cache
  }
  graphs.free(cache)
  return rates
}

/** Answers to the same prompt again and again for so many minutes: points of [seconds, tokens per second]. */
export async function soak(session: Session, minutes: number, step: Step): Promise<[number, number][]> {
  const { graphs, manifest } = session
  const golden = await session.golden()
  const features = await graphs.encodeImage(golden.pixel_values)
  const begin = performance.now()
  const end = begin + 60_000 * minutes
  const window = Math.max(WINDOW, (60 * minutes) / SOAK_POINTS)
  const points: [number, number][] = []
  let tokens = 0
  let busy = 0
  while (performance.now() < end) {
    let { logits, cache } = await prefill(graphs, manifest, golden.input_ids, graphs.emptyCache(), features)
    const last = Math.min(manifest.context, cache.length + SOAK_TOKENS)
    while (cache.length < last && performance.now() < end) {
      const start = performance.now()
      ;({ logits, cache } = await append(graphs, largest(logits), cache))
      const now = performance.now()
      tokens++
      busy += (now - start) / 1000
      if (busy < window && now < end) continue
      const rate = tokens / busy
      points.push([(now - begin) / 1000, rate])
      await step('bench.soaking', { n: number((now - begin) / 60_000, 1), minutes, rate: number(rate, 1) })
      tokens = busy = 0
    }
    graphs.free(cache)
  }
  return points
}

/** Ids to fill a cache with: the first token, then spread over the vocabulary, none that ends or holds an image. */
function filler({ ids: known, shape }: Manifest, count: number): number[] {
  const ids = [known.first]
  let state = 1
  while (ids.length < count) {
    state = (state * 48271) % 2147483647 // Lehmer's generator: below 2^53, so exact
    const id = state % shape.vocabulary
    if (id !== known.image && !known.end.includes(id)) ids.push(id)
  }
  return ids
}
