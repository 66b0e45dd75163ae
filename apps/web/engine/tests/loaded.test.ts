import { describe, expect, it } from 'vitest'

import { Failure } from '../src/failure'
import { frameOf } from '../src/frame'
import { Model } from '../src/loaded'
import { FakeEngine } from '../src/model/fake'
import type { AskOptions } from '../src/model/engine'
import type { ModelClient } from '../src/worker/client'

const frame = frameOf(2, 2, new ArrayBuffer(16))
const QUESTION = 'Why?'

/** The worker's side without a worker: the stand-in engine, which fails when two questions meet. */
async function open(): Promise<{ model: Model; requests: object[]; closed: Failure[] }> {
  const engine = await FakeEngine.load(() => undefined)
  const requests: object[] = []
  const closed: Failure[] = []
  let busy = false
  const client = {
    async ask(_frame: object, question: string, request: Omit<AskOptions, 'signal' | 'onText'>, signal: AbortSignal, onText: AskOptions['onText']) {
      if (busy) throw new Error('two at once')
      busy = true
      requests.push(request)
      const pixels = { width: 2, height: 2, channels: 4, data: new Uint8Array(16) } as const
      const { form } = request
      const options = { ...request, signal, onText }
      const isList = form && 'choices' in form
      const answer = isList ? await engine.rank(pixels, question, form.choices, options) : await engine.ask(pixels, question, options)
      busy = false
      return { ...answer, memory: 1 }
    },
    async selfTest(onCheck: (check: object) => void) {
      if (busy) throw new Error('two at once')
      await engine.selfTest(onCheck)
    },
    close: (reason: Failure) => closed.push(reason),
  }
  return { model: new Model(client as unknown as ModelClient, engine.info), requests, closed }
}

describe('Model', () => {
  it('answers one question after the other, in their order', async () => {
    const { model } = await open()
    const texts: string[] = []
    const answers = ['one', 'two', 'three'].map((question) => model.ask(frame, question).then(({ text }) => texts.push(text)))
    await Promise.all([...answers, model.selfTest()])
    expect(texts.map((text) => text.match(/“(\w+)”/)?.[1])).toEqual(['one', 'two', 'three'])
  })

  it('streams the pieces of the answer, and returns it', async () => {
    const { model } = await open()
    const stream = model.stream(frame, QUESTION, { maxTokens: 4 })
    const pieces: string[] = []
    let next = await stream.next()
    for (; !next.done; next = await stream.next()) pieces.push(next.value)
    expect(pieces.length).toBe(4)
    expect(pieces.join('')).toBe(next.value.text)
    expect(next.value).toMatchObject({ stop: 'length', tokens: 4, memory: 1 })
  })

  it('streams an answer out of a list as one piece', async () => {
    const { model } = await open()
    const pieces: string[] = []
    for await (const piece of model.stream(frame, QUESTION, { choices: ['red', 'green'] })) pieces.push(piece)
    expect(pieces).toEqual(['red'])
  })

  it('stops the answer when nobody listens any more', async () => {
    const { model } = await open()
    let last = ''
    for await (const piece of model.stream(frame, QUESTION, { onText: (text) => (last = text) })) {
      expect(piece).toBe('A ')
      break
    }
    await model.selfTest() // has its turn when the answer has ended
    expect(last).toMatch(/^A (stand-in )?$/)
  })

  it('ends an answer early, and one before its turn at once', async () => {
    const { model, requests } = await open()
    const abort = new AbortController()
    const onText = () => abort.abort()
    const [first, second] = await Promise.all([
      model.ask(frame, QUESTION, { signal: abort.signal, onText }),
      model.ask(frame, QUESTION, { signal: abort.signal }),
    ])
    expect(first).toMatchObject({ stop: 'cancelled', text: 'A ' })
    expect(second).toMatchObject({ stop: 'cancelled', text: '' })
    expect(requests).toHaveLength(1)
  })

  it('goes on after a question that failed', async () => {
    const { model } = await open()
    await expect(model.ask(frame, QUESTION, { maxTokens: 0 })).rejects.toBeInstanceOf(Failure)
    await expect(model.ask('', QUESTION)).rejects.toBeInstanceOf(Failure)
    expect((await model.ask(frame, QUESTION, { maxTokens: 1 })).text).toBe('A ')
  })

  it('says what is wrong with a stream to whoever reads it', async () => {
    const { model } = await open()
    await expect(model.stream(frame, QUESTION, { regex: 'a', choices: ['b'] }).next()).rejects.toThrow('not both')
  })

  it.each([
    [{ maxTokens: 0 }, 'maxTokens'],
    [{ maxTokens: 1.5 }, 'maxTokens'],
    [{ choices: ['a'], regex: 'a' }, 'not both'],
    [{ choices: [] }, '0 choices'],
    [{ choices: ['a', 'a'] }, 'twice'],
    [{ sampling: { temperature: -1 } }, 'temperature must be'],
  ])('refuses %j', async (options, message) => {
    const { model, requests } = await open()
    await expect(model.ask(frame, QUESTION, options)).rejects.toMatchObject({ code: 'prompt' })
    await expect(model.ask(frame, QUESTION, options)).rejects.toThrow(message)
    expect(requests).toEqual([])
  })

  it('keeps the turns of a conversation, but for those that were cancelled', async () => {
    const { model, requests } = await open()
    const chat = await model.chat(frame)
    await chat.ask('One?', { maxTokens: 1 })
    await chat.ask('Two?', { signal: AbortSignal.abort() })
    await chat.ask('Three?', { maxTokens: 1 })
    expect(chat.turns.map(({ question }) => question)).toEqual(['One?', 'Three?'])
    expect(requests).toMatchObject([{ turns: [] }, { turns: [{ question: 'One?' }] }])
  })

  it('fails after it was closed', async () => {
    const { model, closed } = await open()
    model.close()
    expect(closed).toMatchObject([{ code: 'cancelled' }])
    await expect(model.ask(frame, QUESTION)).rejects.toMatchObject({ code: 'cancelled' })
    await expect(model.selfTest()).rejects.toMatchObject({ code: 'cancelled' })
  })
})
