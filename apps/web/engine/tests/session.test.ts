import { beforeEach, describe, expect, it } from 'vitest'

import { type Manifest, parseManifest } from '../src/bundle/manifest'
import { largest } from '../src/model/decoding'
import { Failure } from '../src/failure'
import type { AskOptions, ModelInfo } from '../src/model/engine'
import type { Cache, Graphs } from '../src/model/graphs'
import { buildPrompt, checkQuestion } from '../src/model/prompt'
import { Session } from '../src/model/session'
import { Tokenizer } from '../src/model/tokenizer'
import { breathe } from '../src/model/yield'
import { byteTokenizer, manifestJson, severalSizes } from './helpers'

const manifest = parseManifest(manifestJson())
const several = parseManifest(severalSizes())
const tokenizer = Tokenizer.fromJson(byteTokenizer())
const frame = { width: 8, height: 8, channels: 3 as const, data: new Uint8Array(192).fill(9) }
const other = { ...frame, data: new Uint8Array(192).fill(8) }

/** Graphs that write down what they are fed. The cache is the list of all embeddings; the answer is fixed text. */
class Recorder {
  images = 0
  trimmed = 0
  readonly calls: { from: number; steps: number }[] = []
  freed = 0
  answer = [...new TextEncoder().encode('red')]

  readonly pixels: number[] = []
  readonly sizes: number[] = []
  private tokens = manifest.tiles.tokens
  unreachable = false
  readonly provider = 'wasm'

  async useTiles({ tiles }: Manifest): Promise<void> {
    if (this.unreachable) throw new Failure('network', 'gone')
    this.sizes.push(tiles.size)
    this.tokens = tiles.tokens
  }

  async encodeImage(pixels: Float32Array): Promise<Float32Array> {
    this.images++
    this.pixels.push(pixels.length)
    return Float32Array.from({ length: 2 * this.tokens }, (_, n) => 1000 + n)
  }

  async trim(): Promise<void> {
    this.trimmed++
  }

  async embed(ids: readonly number[]): Promise<Float32Array> {
    return Float32Array.from(ids.flatMap((id) => [id, -id]))
  }

  emptyCache(): Cache {
    return { length: 0, tensors: {} }
  }

  async decode(embeds: Float32Array, cache: Cache): Promise<{ logits: Float32Array; cache: Cache }> {
    const earlier = (cache as Cache & { rows?: number[] }).rows ?? []
    const rows = [...earlier, ...embeds]
    this.calls.push({ from: cache.length, steps: embeds.length / 2 })
    this.last = rows
    const logits = new Float32Array(manifest.shape.vocabulary)
    const prompt = this.promptRows(rows)
    logits[this.answer[rows.length / 2 - prompt] ?? 257] = 1
    return { logits, cache: { length: rows.length / 2, tensors: {}, rows } as Cache }
  }

  free(): void {
    this.freed++
  }

  last: number[] = []

  /** Tokens up to the assistant's turn: what follows was generated. */
  private promptRows(rows: number[]): number {
    const ids = rows.filter((_, n) => n % 2 === 0)
    return ids.lastIndexOf(256) + 1 + [...'assistant\n'].length
  }
}

describe('Session', () => {
  let graphs: Recorder
  let session: Session
  const options = (changes: Partial<AskOptions> = {}): AskOptions => ({
    maxTokens: 32,
    signal: new AbortController().signal,
    onText: () => undefined,
    ...changes,
  })

  beforeEach(() => {
    graphs = new Recorder()
    session = new Session(manifest, {} as ModelInfo, graphs as unknown as Graphs, tokenizer, () => Promise.reject())
  })

  it('gives the vision encoder back after each picture if it is not to be kept', async () => {
    await session.ask(frame, 'Colour?', options())
    expect(graphs.trimmed).toBe(0)
    const info = {} as ModelInfo
    session = new Session(manifest, info, graphs as unknown as Graphs, tokenizer, () => Promise.reject(), false)
    for (const picture of [frame, frame, other]) await session.ask(picture, 'Colour?', options())
    expect(graphs.images - 1).toBe(2)
    expect(graphs.trimmed).toBe(2)
  })

  it('streams the answer and ends at the end token', async () => {
    const seen: string[] = []
    const answer = await session.ask(frame, 'Colour?', options({ onText: (text) => seen.push(text) }))
    expect(seen).toEqual(['r', 're', 'red'])
    expect(answer).toMatchObject({ text: 'red', stop: 'end', tokens: 4 })
  })

  it('says how likely the model holds a free answer, and nothing of one that is cut or long', async () => {
    const size = manifest.shape.vocabulary
    const step = Math.E / (Math.E + size - 1) // the only logit is 1, all others are 0
    const { confidence } = await session.ask(frame, 'Colour?', options())
    expect(confidence).toBeCloseTo(step ** 4, 12)
    expect((await session.ask(frame, 'Colour?', options({ maxTokens: 2 }))).confidence).toBeNull()
    const drawn = await session.ask(frame, 'Colour?', options({ form: { regex: 'red' } }))
    expect(drawn.confidence).toBeCloseTo(step ** 3, 12) // nothing but the end may follow
    graphs.answer = [...new TextEncoder().encode('thirteen more')]
    expect(await session.ask(frame, 'Colour?', options())).toMatchObject({ stop: 'end', confidence: null })
  })

  it('feeds the whole prompt with the image rows in their places, in calls of at most a chunk', async () => {
    await session.ask(frame, 'Colour?', options())
    const { ids } = buildPrompt(manifest, tokenizer, 'Colour?')
    const fed = graphs.last.slice(0, 2 * ids.length)
    const image = ids.indexOf(manifest.ids.image)
    expect(fed.slice(2 * image, 2 * image + 6)).toEqual([1000, 1001, 1002, 1003, 1004, 1005])
    const text = fed.filter((_, n) => n % 2 === 0 && (n / 2 < image || n / 2 >= image + 3))
    expect(text).toEqual(ids.filter((id) => id !== manifest.ids.image))
    expect(Math.max(...graphs.calls.map(({ steps }) => steps))).toBeLessThanOrEqual(manifest.chunk)
  })

  it('looks once at a picture for several questions, and each begins right after the picture', async () => {
    await session.ask(frame, 'Colour?', options())
    const { prefix } = buildPrompt(manifest, tokenizer, 'Colour?')
    const before = graphs.calls.length
    const second = await session.ask(frame, 'How many?', options())
    expect(graphs.images).toBe(1)
    expect(graphs.calls[before]?.from).toBe(prefix)
    expect(second).toMatchObject({ text: 'red', look: 0 })
    await session.ask(other, 'How many?', options())
    expect(graphs.images).toBe(2)
  })

  it('frees every cache but the one after the picture', async () => {
    await session.ask(frame, 'Colour?', options())
    const made = graphs.calls.length
    expect(graphs.freed).toBe(made - 1)
  })

  it('looks with tiles of another size when asked to, and again at the same picture', async () => {
    const goldenSizes: number[] = []
    const readGolden = ({ tiles }: Manifest) => (goldenSizes.push(tiles.size), Promise.reject<never>(new Error('unread')))
    session = new Session(several, {} as ModelInfo, graphs as unknown as Graphs, tokenizer, readGolden)
    const ask = (tileSize?: number) => session.ask(frame, 'Colour?', options({ tileSize }))
    expect(await ask()).toMatchObject({ tile: 8, imageTokens: 3 })
    const small = await ask(4)
    expect(small).toMatchObject({ text: 'red', tile: 4, imageTokens: 1 })
    expect(small.look).toBeGreaterThan(0)
    const { ids } = buildPrompt(session.manifest, tokenizer, 'Colour?')
    expect(ids.filter((id) => id === several.ids.image)).toHaveLength(1)
    const fed = graphs.last.slice(0, 2 * ids.length)
    expect(fed.slice(2 * ids.indexOf(several.ids.image)).slice(0, 2)).toEqual([1000, 1001])
    expect(await ask(4)).toMatchObject({ look: 0, tile: 4 })
    expect(await ask()).toMatchObject({ look: 0, tile: 4 }) // as the question before
    expect(await ask(12)).toMatchObject({ tile: 12, imageTokens: 7 })
    expect([graphs.sizes, graphs.pixels]).toEqual([[4, 12], [3 * 64, 3 * 16, 3 * 144]])
    await expect(session.selfTest(() => undefined)).rejects.toThrow('unread')
    expect(goldenSizes).toEqual([12])
  })

  it('goes on with the size before when another cannot be had, or is none', async () => {
    session = new Session(several, {} as ModelInfo, graphs as unknown as Graphs, tokenizer, () => Promise.reject())
    await session.ask(frame, 'Colour?', options())
    graphs.unreachable = true
    await expect(session.ask(frame, 'Colour?', options({ tileSize: 4 }))).rejects.toThrow('gone')
    await expect(session.ask(frame, 'Colour?', options({ tileSize: 5 }))).rejects.toThrow('its sizes: 8, 4, 12')
    expect(await session.ask(frame, 'Colour?', options({ tileSize: 8 }))).toMatchObject({ text: 'red', tile: 8, look: 0 })
  })

  it('stops at the cap', async () => {
    expect(await session.ask(frame, 'Colour?', options({ maxTokens: 2 }))).toMatchObject({ text: 're', stop: 'length' })
  })

  it('stops when the context is full', async () => {
    graphs.answer = Array(500).fill(97)
    const answer = await session.ask(frame, 'Colour?', options({ maxTokens: 500 }))
    expect(answer.stop).toBe('context')
    expect(graphs.last.length / 2).toBe(manifest.context)
  })

  it('stops between two tokens when cancelled', async () => {
    const abort = new AbortController()
    const answer = await session.ask(
      frame,
      'Colour?',
      options({
        signal: abort.signal,
        onText: (text) => {
          if (text === 're') void breathe().then(() => abort.abort())
        },
      }),
    )
    expect(answer).toMatchObject({ text: 're', stop: 'cancelled' })
  })

  it('stops after the look when cancelled meanwhile', async () => {
    const abort = new AbortController()
    abort.abort()
    expect((await session.ask(frame, 'Colour?', options({ signal: abort.signal }))).stop).toBe('cancelled')
    expect(graphs.images).toBe(1)
  })
})

describe('largest', () => {
  it('gives the first of the largest', () => {
    expect(largest(Float32Array.of(0, 2, 1, 2))).toBe(1)
  })

  it.each([NaN, Infinity, -Infinity])('refuses logits with %d', (value) => {
    expect(() => largest(Float32Array.of(1, value, 2))).toThrow(/not finite/)
  })
})

describe('buildPrompt', () => {
  it('is the template with the image in front of the question', () => {
    const { ids, prefix } = buildPrompt(manifest, tokenizer, 'Hi')
    const bytes = (text: string) => [...new TextEncoder().encode(text)]
    const head = [256, ...bytes('user\n'), 258, 260, 260, 260]
    expect(ids).toEqual([...head, 259, ...bytes('Hi'), 257, 256, ...bytes('assistant\n')])
    expect(prefix).toBe(head.length)
  })

  it('tidies blanks', () => {
    expect(checkQuestion(manifest.prompt, '  How \n many? ')).toBe('How many?')
  })

  it.each([
    ['   ', /Type a question/],
    ['What is <img>?', /cannot contain <img>/],
    ['stop<|im_end|>', /cannot contain <\|im_end\|>/],
    ['x'.repeat(501), /at most 500/],
    ['y '.repeat(100), /too long/],
  ])('refuses %j', (question, message) => {
    expect(() => buildPrompt(manifest, tokenizer, question)).toThrow(message)
  })

  it('refuses a first token that the model was not folded for', () => {
    const folded = { ...manifest, ids: { ...manifest.ids, first: 1 } }
    expect(() => buildPrompt(folded, tokenizer, 'Hi')).toThrow(/folded for 1/)
  })
})
