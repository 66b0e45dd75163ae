import { beforeEach, describe, expect, it } from 'vitest'

import { RegexConstraint, RegexForm } from '../src/form/regex'
import { tokenDecoder } from '../src/form/token_bytes'
import { Vocabulary } from '../src/form/vocabulary'
import { parseManifest } from '../src/bundle/manifest'
import type { AskOptions, ModelInfo } from '../src/model/engine'
import type { Cache, Graphs } from '../src/model/graphs'
import { buildPrompt } from '../src/model/prompt'
import { Session } from '../src/model/session'
import { Tokenizer } from '../src/model/tokenizer'
import { byteTokenizer, manifestJson } from './helpers'

const manifest = parseManifest(manifestJson())
const tokenizer = Tokenizer.fromJson(byteTokenizer())
const frame = { width: 8, height: 8, channels: 3 as const, data: new Uint8Array(192).fill(9) }
const END = manifest.ids.end[0] as number
const bytes = (text: string) => [...new TextEncoder().encode(text)]

/** Logits that depend on every token before: noise, the same for the same tokens. */
function noise(ids: readonly number[]): Float32Array {
  let seed = ids.reduce((hash, id) => Math.imul(hash ^ (id + 1), 0x01000193) >>> 0, 0x811c9dc5)
  return Float32Array.from({ length: manifest.shape.vocabulary }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return (8 * seed) / 2 ** 32
  })
}

/** Graphs of a model that is all noise. A cache is the list of its tokens. */
class Noise {
  images = 0
  readonly provider = 'wasm'
  readonly alive = new Set<Cache>()
  calls = 0
  broken = false

  encodeImage = async () => {
    this.images++
    return new Float32Array(2 * manifest.tiles.tokens)
  }
  embed = async (ids: readonly number[]) => Float32Array.from(ids.flatMap((id) => [id, 0]))
  emptyCache = (): Cache => ({ length: 0, tensors: {} })
  free = (cache: Cache) => void this.alive.delete(cache)
  useTiles = async () => undefined

  async decode(embeds: Float32Array, cache: Cache): Promise<{ logits: Float32Array; cache: Cache }> {
    this.calls++
    const ids = [...((cache as Cache & { ids?: number[] }).ids ?? []), ...embeds.filter((_, n) => n % 2 === 0)]
    const next = { length: ids.length, tensors: {}, ids } as Cache
    this.alive.add(next)
    const logits = noise(ids)
    if (this.broken) logits[0] = NaN
    return { logits, cache: next }
  }
}

describe('Session with forms', () => {
  let graphs: Noise
  let session: Session
  const options = (changes: Partial<AskOptions> = {}): AskOptions => ({
    maxTokens: 32,
    signal: new AbortController().signal,
    onText: () => undefined,
    ...changes,
  })
  /** What the graphs were fed when the answer begins: the image's tokens are zeros. */
  const prompt = buildPrompt(manifest, tokenizer, 'Colour?').ids.map((id) => (id === manifest.ids.image ? 0 : id))

  beforeEach(() => {
    graphs = new Noise()
    session = new Session(manifest, {} as ModelInfo, graphs as unknown as Graphs, tokenizer, () => Promise.reject())
  })

  /** The probability of each choice as the whole answer among them all, each computed for itself, from its definition. */
  function bruteForce(choices: readonly string[]): number[] {
    const softmax = (logits: Float32Array, id: number) => Math.exp(logits[id]) / logits.reduce((sum, x) => sum + Math.exp(x), 0)
    const products = choices.map((choice) => {
      const ids = [...bytes(choice), END]
      return ids.reduce((product, id, n) => product * softmax(noise([...prompt, ...ids.slice(0, n)]), id), 1)
    })
    const total = products.reduce((sum, product) => sum + product, 0)
    return products.map((product) => product / total)
  }

  it('ranks choices by their exact likelihood, also where one begins another', async () => {
    const choices = ['red', 'reddish', 'rosy', 'blue', 'é', 'b', 'Ein längerer Satz.']
    const answer = await session.rank(frame, 'Colour?', choices, options())
    const expected = bruteForce(choices)
    const best = expected.indexOf(Math.max(...expected))
    expect(answer).toMatchObject({ text: choices[best], ids: bytes(choices[best] as string), stop: 'end' })
    const likelihoods = answer.likelihoods ?? []
    const order = [...expected].sort((a, b) => b - a)
    expect(likelihoods.map(({ probability }) => probability)).toEqual(order.map((p) => expect.closeTo(p, 12)))
    for (const { text, probability } of likelihoods) {
      expect(probability).toBeCloseTo(expected[choices.indexOf(text)] as number, 12)
    }
  })

  it('computes what choices share once, gives the caches back, and leaves the picture for the next question', async () => {
    await session.ask(frame, 'Colour?', options({ maxTokens: 1 }))
    const before = graphs.calls
    await session.ask(frame, 'Colour?', options({ maxTokens: 1 }))
    const question = graphs.calls - before
    await session.rank(frame, 'Colour?', ['red', 'reddish', 'rosy'], options())
    const edges = new Set(['red', 'reddish', 'rosy'].flatMap((text) => bytes(text).map((_, n) => text.slice(0, n + 1))))
    expect(graphs.calls - before - 2 * question).toBe(edges.size)
    expect(graphs.alive.size).toBe(1)
    expect(await session.ask(frame, 'Colour?', options())).toMatchObject({ look: 0 })
    expect(graphs.images).toBe(1)
  })

  it('ends a ranking between two tokens when cancelled', async () => {
    const abort = new AbortController()
    const decode = graphs.decode.bind(graphs)
    graphs.decode = async (embeds, cache) => {
      if (cache.length >= prompt.length + 1) abort.abort()
      return decode(embeds, cache)
    }
    const answer = await session.rank(frame, 'Colour?', ['red', 'blue'], options({ signal: abort.signal }))
    expect(answer).toMatchObject({ text: '', stop: 'cancelled' })
    expect(answer.likelihoods).toBeUndefined()
    expect(graphs.alive.size).toBe(1)
  })

  it('answers with one of the choices, step by step', async () => {
    const choices = ['red', 'reddish', 'rosy', 'blue']
    const answer = await session.ask(frame, 'Colour?', options({ form: { choices } }))
    expect(choices).toContain(answer.text)
    let allowed = choices
    for (const [n, id] of answer.ids.entries()) {
      const logits = noise([...prompt, ...answer.ids.slice(0, n)])
      const next = allowed.map((choice) => bytes(choice)[n] ?? END)
      expect(id).toBe(next.reduce((best, other) => (logits[other] > logits[best] ? other : best)))
      allowed = allowed.filter((choice) => bytes(choice)[n] === id)
    }
    expect(allowed).toContain(answer.text)
  })

  it.each([/^(yes|no)$/, /^[0-9]{2,3}( °C|%)$/, /^[^a-z]{1,4}é$/])('answers what %s matches', async (pattern) => {
    const answer = await session.ask(frame, 'Colour?', options({ form: { regex: pattern.source } }))
    expect(answer.text).toMatch(pattern)
    expect(answer.stop).toBe('end')
    expect(graphs.alive.size).toBe(1)
  })

  it('takes the likeliest of the tokens that fit', async () => {
    const { ids } = await session.ask(frame, 'Colour?', options({ form: { regex: '[a-m]{6}' } }))
    expect(ids).toHaveLength(6)
    for (const [n, id] of ids.entries()) {
      const logits = noise([...prompt, ...ids.slice(0, n)])
      const fitting = bytes('abcdefghijklm')
      expect(id).toBe(fitting.reduce((best, other) => (logits[other] > logits[best] ? other : best)))
    }
  })

  it('ends where nothing may follow, without computing the end', async () => {
    const { tokens } = await session.ask(frame, 'Colour?', options({ form: { regex: 'ab' } }))
    expect(tokens).toBe(2)
  })

  it('stops at the cap within a form', async () => {
    expect(await session.ask(frame, 'Colour?', options({ maxTokens: 2, form: { regex: '[a-z]{9}' } }))).toMatchObject({ stop: 'length' })
  })

  it.each([
    [{ choices: [] }, /0 choices/],
    [{ choices: ['a', 'a'] }, /Choice 2 is there twice/],
    [{ choices: ['a<img>'] }, /A choice cannot contain <img>/],
    [{ regex: '(?=a)' }, /look-around/],
    [{ regex: 'a[^\\s\\S]' }, /no text matches/],
  ])('refuses the form %j before it looks', async (form, message) => {
    await expect(session.ask(frame, 'Colour?', options({ form }))).rejects.toThrow(message)
    if ('choices' in form) await expect(session.rank(frame, 'Colour?', form.choices as string[], options())).rejects.toThrow(message)
    expect(graphs.images).toBe(0)
  })

  it('refuses choices that do not fit the context, with the number', async () => {
    const long = 'x'.repeat(manifest.context - prompt.length + 1)
    const rank = (choice: string) => session.rank(frame, 'Colour?', [choice], options())
    await expect(rank(long)).rejects.toThrow(`too long: ${manifest.context} tokens`)
    expect(graphs.images).toBe(0)
    expect((await rank(long.slice(1))).text).toBe(long.slice(1))
  })

  it('refuses logits that are not finite', async () => {
    graphs.broken = true
    await expect(session.rank(frame, 'Colour?', ['a', 'b'], options())).rejects.toThrow(/not finite/)
    await expect(session.ask(frame, 'Colour?', options({ form: { regex: 'a' } }))).rejects.toThrow(/not finite/)
  })
})

describe('RegexConstraint', () => {
  const vocabulary = (...tokens: string[]) => new Vocabulary(tokens.map((token) => new TextEncoder().encode(token)), 1)

  it('skips the first space of an answer where the tokenizer does, and no other', () => {
    const constraint = new RegexConstraint(new RegexForm('a a', vocabulary(' a', 'a', ' ', '  a', ' a a'), []))
    expect([...constraint.allowed()].sort()).toEqual([0, 1, 4])
    constraint.append(0)
    expect([...constraint.allowed()].sort()).toEqual([0, 2])
    constraint.append(0)
    expect(constraint.isComplete).toBe(true)
  })

  it('takes the first of equals, whatever their order in the vocabulary', () => {
    const constraint = new RegexConstraint(new RegexForm('[abc]', vocabulary('x', 'c', 'a', 'b'), []))
    expect(constraint.choose(Float32Array.of(9, 1, 1, 1))).toBe(1)
    expect(constraint.choose(Float32Array.of(9, 1, 2, 2))).toBe(2)
  })

  it('chooses as a mask over all tokens would, whether the likeliest may follow or not', () => {
    const tokens = Array.from({ length: 300 }, (_, n) => String.fromCodePoint(0x100 + n) + 'ab'.slice(n % 3))
    const form = new RegexForm('[\u0180-\u018f][ab]+', vocabulary(...tokens), [])
    for (let seed = 1; seed < 60; seed++) {
      const logits = Float32Array.from({ length: 300 }, (_, n) => Math.imul(n + seed, 0x9e3779b1) % 40) // many are equal
      const constraint = new RegexConstraint(form)
      const masked = logits.map((value, id) => (constraint.allowed().includes(id) ? value : -Infinity))
      expect(constraint.choose(logits)).toBe(masked.indexOf(Math.max(...masked)))
    }
  })

  it('says so when the vocabulary has no token that fits', () => {
    const constraint = new RegexConstraint(new RegexForm('z', vocabulary('x', 'c'), []))
    expect(() => constraint.choose(Float32Array.of(1, 2))).toThrow(/No token of this model/)
  })

  it('allows what reading each token by itself allows', () => {
    const letters = ['a', 'b', 'é', ' ', '1']
    const pairs = letters.flatMap((x) => ['', ...letters].flatMap((y) => ['', ...letters].map((z) => x + y + z)))
    const all = new Vocabulary([...new Set(pairs)].map((token) => new TextEncoder().encode(token)))
    const texts = [...new Set(pairs)]
    for (const regex of ['(a|b)*é', '[^b]{2,4}', '(a1| é?)+b?', '.{0,3}']) {
      for (const before of [0, 7, 50]) {
        const form = new RegexForm(regex, all, [])
        const constraint = new RegexConstraint(form)
        if (!constraint.allowed().includes(before)) continue
        constraint.append(before)
        const open = new RegExp(`^(?:${regex})$`, 'u')
        // A text may still match where some longer one does, of which few characters suffice for these patterns.
        const may = (text: string) => ['', ...pairs].some((rest) => open.test((texts[before] as string) + text + rest))
        const expected = texts.map((text, id) => (may(text) ? id : -1)).filter((id) => id >= 0)
        expect([...constraint.allowed()].sort((a, b) => a - b), regex).toEqual(expected)
      }
    }
  })

  it('stays fast where the states are very many', () => {
    const letters = Array.from({ length: 26 }, (_, n) => String.fromCharCode(97 + n))
    const words = letters.flatMap((x) => letters.flatMap((y) => letters.map((z) => x + y + z)))
    const form = new RegexForm('([a-m]|[n-z])*[a-m]([a-m]|[n-z]){400}', vocabulary(...words), [])
    const constraint = new RegexConstraint(form)
    for (let n = 0; n < 20; n++) constraint.append((n * 7919) % words.length)
    expect(constraint.allowed()).toHaveLength(words.length)
  })
})

describe('tokenDecoder', () => {
  const text = (kind: unknown, token: string) => new TextDecoder().decode(tokenDecoder(kind).bytesOf(token))

  it('reads byte-level tokens and those of SentencePiece', () => {
    expect([...tokenDecoder(tokenizer.decoder).bytesOf('Ã©Ġ')]).toEqual([0xc3, 0xa9, 0x20])
    const steps = [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Replace', pattern: { Regex: '(?<![\\s\\S]) {1,1}' }, content: '' },
    ]
    const decoder = { type: 'Sequence', decoders: steps }
    expect(text(decoder, '▁a▁é')).toBe(' a é')
    expect([...tokenDecoder(decoder).bytesOf('<0xE9>')]).toEqual([0xe9])
    expect(tokenDecoder(decoder).strippedSpaces).toBe(1)
    expect(tokenDecoder({ type: 'Metaspace', replacement: '▁', prepend_scheme: 'never' }).strippedSpaces).toBe(0)
  })

  it.each([null, { type: 'CTC' }, { type: 'Replace', pattern: { Regex: 'a' }, content: 'b' }])('refuses %j', (decoder) => {
    expect(() => tokenDecoder(decoder)).toThrow(/cannot use/)
  })
})
