/** The model as an {@link Engine}: picture and question in, streamed text out. One tile. */

import type { Constraint } from '../form/constraint'
import type { Forms } from '../form/forms'
import type { Check, Golden } from '../bundle/golden'
import { atTileSize, type Manifest } from '../bundle/manifest'
import { type Pixels, pixelValues } from '../image/resize'
import { chooser } from './choosing'
import { Confidence } from './confidence'
import { append, type Decoded, prefill } from './decoding'
import type { Answer, AskOptions, Engine, ModelInfo, RankOptions, Timing } from './engine'
import type { Cache, Graphs } from './graphs'
import { buildPrompt, type Prompt } from './prompt'
import { GREEDY } from './sampling'
import { requireGolden, runGolden } from './self_test'
import type { Tokenizer } from './tokenizer'
import { breathe } from './yield'

interface Seen {
  readonly frame: Pixels
  readonly ids: readonly number[]
  readonly cache: Cache
}

export class Session implements Engine {
  private seen: Seen | null = null
  private forms: Forms | null = null

  constructor(
    private chosen: Manifest,
    readonly info: ModelInfo,
    readonly graphs: Graphs,
    readonly tokenizer: Tokenizer,
    /** Reads the bundle's golden file for the size of tiles that a manifest is for. */
    private readonly readGolden: (manifest: Manifest) => Promise<Golden>,
    /** Whether the vision encoder stays in memory between pictures. */
    private readonly keepVision = true,
  ) {}

  /** The bundle's, for the size of tiles that it looks with now. */
  get manifest(): Manifest {
    return this.chosen
  }

  /** The golden file of that size. */
  golden(): Promise<Golden> {
    return this.readGolden(this.manifest)
  }

  async ask(frame: Pixels, question: string, options: AskOptions): Promise<Answer> {
    const constraint = options.form ? (await this.loadForms()).begin(options.form) : null
    const clock = new Clock()
    const begun = await this.begin(frame, question, options, clock)
    return begun ? this.generate(begun, constraint, options, clock) : this.answer([], 'cancelled', clock)
  }

  async rank(frame: Pixels, question: string, choices: readonly string[], options: RankOptions): Promise<Answer> {
    const tree = (await this.loadForms()).tree(choices)
    const clock = new Clock()
    const begun = await this.begin(frame, question, options, clock, tree.depth)
    if (!begun) return this.answer([], 'cancelled', clock)
    clock.token()
    const step = async () => {
      await breathe()
      clock.token()
      return !options.signal.aborted
    }
    const likelihoods = await tree.rank(this.graphs, begun, step)
    this.graphs.free(begun.cache)
    const [best] = likelihoods
    return best ? { ...this.answer(tree.idsOf(best.text), 'end', clock), likelihoods } : this.answer([], 'cancelled', clock)
  }

  /** Looks and reads the question: what an answer of `room` tokens begins with; null when someone cancelled it. */
  private async begin(
    frame: Pixels,
    question: string,
    { tileSize, signal }: RankOptions,
    clock: Clock,
    room = 1,
  ): Promise<Decoded | null> {
    if (tileSize !== undefined) await this.useTiles(tileSize)
    const prompt = buildPrompt(this.manifest, this.tokenizer, question, room)
    const image = await this.look(frame, prompt, clock)
    if (signal.aborted) return null
    return prefill(this.graphs, this.manifest, prompt.ids.slice(prompt.prefix), image)
  }

  /** When they are first needed: most questions have none. */
  private async loadForms(): Promise<Forms> {
    if (!this.forms) {
      const { Forms } = await import('../form/forms')
      this.forms = new Forms(this.manifest, this.tokenizer)
    }
    return this.forms
  }

  async selfTest(onCheck: (check: Check) => void): Promise<void> {
    await runGolden(this.graphs, this.manifest, await this.golden(), onCheck)
    if (!this.keepVision) await this.graphs.trim()
  }

  /** The cache after the picture, kept until another picture comes: further questions continue from it. */
  private async look(frame: Pixels, prompt: Prompt, clock: Clock): Promise<Cache> {
    const ids = prompt.ids.slice(0, prompt.prefix)
    if (this.seen?.frame === frame && sameIds(this.seen.ids, ids)) return this.seen.cache
    this.forget()
    const pixels = pixelValues(frame, this.manifest.tiles.size)
    clock.ended('preprocess')
    const features = await this.graphs.encodeImage(pixels)
    if (!this.keepVision) await this.graphs.trim()
    clock.ended('vision')
    await breathe()
    const { cache } = await prefill(this.graphs, this.manifest, ids, this.graphs.emptyCache(), features)
    this.seen = { frame, ids, cache }
    clock.ended('look')
    return cache
  }

  /** Looks with tiles of one of the bundle's sizes from now on. */
  private async useTiles(size: number): Promise<void> {
    if (size === this.manifest.tiles.size) return
    const manifest = atTileSize(this.manifest, size)
    await this.graphs.useTiles(manifest)
    this.forget()
    this.chosen = manifest
    if (this.graphs.provider === 'webgpu') await requireGolden(this.graphs, manifest, await this.golden())
  }

  private forget(): void {
    if (this.seen) this.graphs.free(this.seen.cache)
    this.seen = null
  }

  /** Tokens from `logits` on, of those that `constraint` allows. Takes over `cache`. */
  private async generate(
    { logits, cache }: Decoded,
    constraint: Constraint | null,
    options: AskOptions,
    clock: Clock,
  ): Promise<Answer> {
    const { ids: known, context } = this.manifest
    const choose = chooser(options.sampling ?? GREEDY)
    const confidence = new Confidence(known.end)
    const tokens: number[] = []
    let sure: number | null = null
    let stop: Answer['stop'] = 'end'
    for (;;) {
      const token = constraint ? constraint.choose(logits) : choose(logits)
      clock.token()
      if (known.end.includes(token)) {
        sure = confidence.ended(logits)
        break
      }
      confidence.add(logits, token)
      tokens.push(token)
      constraint?.append(token)
      options.onText(this.tokenizer.decodeSoFar(tokens), clock.timing())
      if (constraint?.isComplete) {
        sure = confidence.ended(null) // the only token that may follow need not be computed
        break
      }
      if (tokens.length >= options.maxTokens) stop = 'length'
      else if (cache.length >= context) stop = 'context'
      else {
        await breathe()
        if (options.signal.aborted) stop = 'cancelled'
      }
      if (stop !== 'end') break
      ;({ logits, cache } = await append(this.graphs, token, cache))
    }
    this.graphs.free(cache)
    return this.answer(tokens, stop, clock, sure)
  }

  private answer(ids: readonly number[], stop: Answer['stop'], clock: Clock, confidence: number | null = null): Answer {
    const { size: tile, tokens: imageTokens } = this.manifest.tiles
    return { text: this.tokenizer.decode(ids), ids, tile, imageTokens, stop, confidence, ...clock.timing() }
  }
}

function sameIds(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, n) => id === b[n])
}

/** Times one answer. The end token counts as a token: it was computed as any other. */
class Clock {
  private readonly start = performance.now()
  /** When each part of a look ended. */
  private readonly ends = { preprocess: 0, vision: 0, look: 0 }
  private first = 0
  private last = 0
  private tokens = 0

  ended(part: 'preprocess' | 'vision' | 'look'): void {
    this.ends[part] = performance.now() - this.start
  }

  token(): void {
    this.last = performance.now()
    if (this.tokens++ === 0) this.first = this.last
  }

  timing(): Timing {
    const { tokens, ends } = this
    const seconds = (this.last - this.first) / 1000
    return {
      preprocess: ends.preprocess,
      vision: ends.vision - ends.preprocess,
      look: ends.look,
      firstToken: tokens ? this.first - this.start : 0,
      tokens,
      tokensPerSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : 0,
    }
  }
}
