/** The model as an {@link Engine}: picture and question in, streamed text out. Greedy, one tile. */

import type { Manifest } from '../bundle/manifest'
import { Failure } from '../failure'
import { type Pixels, pixelValues } from '../image/resize'
import type { Answer, AskOptions, CheckRow, Engine, ModelInfo, Timing } from './engine'
import type { Cache, Graphs } from './graphs'
import { buildPrompt, type Prompt } from './prompt'
import { runGolden } from './self_test'
import type { Tokenizer } from './tokenizer'
import { breathe } from './yield'

interface Seen {
  readonly frame: Pixels
  readonly ids: readonly number[]
  readonly cache: Cache
}

export interface GoldenSource {
  /** The bundle's golden.safetensors. */
  readonly golden: () => Promise<ArrayBuffer>
  /** Whether the arithmetic is fp32 throughout, so that only the order of summation differs from the recorded one's. */
  readonly exact: boolean
}

export class Session implements Engine {
  private seen: Seen | null = null

  constructor(
    readonly manifest: Manifest,
    readonly info: ModelInfo,
    readonly graphs: Graphs,
    readonly tokenizer: Tokenizer,
    private readonly recorded: GoldenSource,
  ) {}

  async ask(frame: Pixels, question: string, options: AskOptions): Promise<Answer> {
    const prompt = buildPrompt(this.manifest, this.tokenizer, question)
    const clock = new Clock()
    const image = await this.look(frame, prompt, clock)
    if (options.signal.aborted) return { text: '', ids: [], stop: 'cancelled', ...clock.timing() }
    const tail = prompt.ids.slice(prompt.prefix)
    const prefilled = await this.prefill(tail, image)
    return this.generate(prefilled.logits, prefilled.cache, options, clock)
  }

  async selfTest(onRow: (row: CheckRow) => void): Promise<void> {
    return runGolden(this, await this.recorded.golden(), this.recorded.exact, onRow)
  }

  /** The cache after the picture, kept until another picture comes: further questions continue from it. */
  private async look(frame: Pixels, prompt: Prompt, clock: Clock): Promise<Cache> {
    const ids = prompt.ids.slice(0, prompt.prefix)
    if (this.seen?.frame === frame && sameIds(this.seen.ids, ids)) return this.seen.cache
    this.forget()
    const features = await this.graphs.encodeImage(pixelValues(frame, this.manifest.tiles.size))
    await breathe()
    const { cache } = await this.prefill(ids, this.graphs.emptyCache(), features)
    this.seen = { frame, ids, cache }
    clock.looked()
    return cache
  }

  private forget(): void {
    if (this.seen) this.graphs.free(this.seen.cache)
    this.seen = null
  }

  /**
   * Continues `cache` with `ids`, their image tokens taken from `features` in order, in calls of at most `chunk` tokens.
   * `cache` itself stays as it is, and stays the caller's.
   */
  async prefill(
    ids: readonly number[],
    cache: Cache,
    features?: Float32Array,
  ): Promise<{ logits: Float32Array; cache: Cache }> {
    const { chunk, shape, ids: known } = this.manifest
    let result: { logits: Float32Array; cache: Cache } | undefined
    let row = 0
    for (let start = 0; start < ids.length; start += chunk) {
      const part = ids.slice(start, start + chunk)
      const embeds = await this.graphs.embed(part)
      for (const [n, id] of part.entries()) {
        if (id !== known.image || !features) continue
        embeds.set(features.subarray(row * shape.hidden, (row + 1) * shape.hidden), n * shape.hidden)
        row++
      }
      const earlier = result?.cache
      result = await this.graphs.decode(embeds, earlier ?? cache)
      if (earlier) this.graphs.free(earlier)
    }
    if (!result) throw new Failure('prompt', 'The prompt is empty.')
    return result
  }

  /** Greedy tokens from `logits` on. Takes over `cache`. */
  private async generate(logits: Float32Array, cache: Cache, options: AskOptions, clock: Clock): Promise<Answer> {
    const { ids: known, context } = this.manifest
    const tokens: number[] = []
    let stop: Answer['stop'] = 'end'
    for (;;) {
      const token = largest(logits)
      clock.token()
      if (known.end.includes(token)) break
      tokens.push(token)
      options.onText(this.tokenizer.decodeSoFar(tokens), clock.timing())
      if (tokens.length >= options.maxTokens) stop = 'length'
      else if (cache.length >= context) stop = 'context'
      else {
        await breathe()
        if (options.signal.aborted) stop = 'cancelled'
      }
      if (stop !== 'end') break
      const next = await this.graphs.decode(await this.graphs.embed([token]), cache)
      this.graphs.free(cache)
      ;({ logits, cache } = next)
    }
    this.graphs.free(cache)
    return { text: this.tokenizer.decode(tokens), ids: tokens, stop, ...clock.timing() }
  }
}

/** Index of the largest value, the first of equals. */
export function largest(values: Float32Array): number {
  let best = 0
  for (let n = 1; n < values.length; n++) if (values[n] > values[best]) best = n
  return best
}

function sameIds(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, n) => id === b[n])
}

/** Times one answer. The end token counts as a token: it was computed as any other. */
class Clock {
  private readonly start = performance.now()
  private look = 0
  private first = 0
  private last = 0
  private tokens = 0

  looked(): void {
    this.look = performance.now() - this.start
  }

  token(): void {
    this.last = performance.now()
    if (this.tokens++ === 0) this.first = this.last
  }

  timing(): Timing {
    const { tokens, look } = this
    const seconds = (this.last - this.first) / 1000
    return {
      look,
      firstToken: tokens ? this.first - this.start : 0,
      tokens,
      tokensPerSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : 0,
    }
  }
}
