import { Failure, type Frame } from 'phantom-edge-web'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { AnswerLoop, type LoopHost } from '../src/loop'

const TAKES = 1000 // milliseconds of an answer

/** A host whose answers take a second, and which notes what happens. */
class Host implements LoopHost {
  frames = 0
  running = 0
  mostRunning = 0
  hasPicture = true
  failure: Error | null = null
  readonly log: string[] = []
  readonly questions: { frame: number; question: string; at: number }[] = []

  async grab(): Promise<Frame | null> {
    return this.hasPicture ? { id: ++this.frames, width: 1, height: 1, rgba: new ArrayBuffer(4) } : null
  }

  ask: LoopHost['ask'] = (frame, question, signal, onText) => {
    this.questions.push({ frame: frame.id, question, at: Date.now() })
    this.mostRunning = Math.max(this.mostRunning, ++this.running)
    const timing = { preprocess: 0, vision: 0, look: 0, firstToken: 1, tokens: 1, tokensPerSecond: 0 }
    return new Promise((resolve, reject) => {
      const done = (stop: 'end' | 'cancelled') => {
        clearTimeout(timer)
        this.running--
        if (this.failure) reject(this.failure)
        else resolve({ text: `${question}!`, ids: [1], tile: 1, imageTokens: 1, stop, memory: 0, ...timing })
      }
      const timer = setTimeout(() => {
        onText(question, timing)
        done('end')
      }, TAKES)
      signal.addEventListener('abort', () => done('cancelled'))
    })
  }

  onStart = (question: string) => void this.log.push(`start ${question}`)
  onText = (_: string, text: string) => void this.log.push(`text ${text}`)
  onAnswer = (question: string) => void this.log.push(`answer ${question}`)
  onFailure = (failure: Failure) => void this.log.push(`failure ${failure.code}`)
  onIdle = () => void this.log.push('idle')
}

describe('AnswerLoop', () => {
  let host: Host
  let loop: AnswerLoop

  beforeEach(() => {
    vi.useFakeTimers()
    host = new Host()
    loop = new AnswerLoop(host, 100)
    void loop.run()
  })
  afterEach(() => {
    loop.stop()
    vi.useRealTimers()
  })

  it('answers again and again, one at a time, each about a new picture', async () => {
    loop.startLive('a')
    await vi.advanceTimersByTimeAsync(10 * (TAKES + 100))
    expect(host.questions.map(({ frame }) => frame)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].slice(0, host.questions.length))
    expect(host.questions.length).toBeGreaterThanOrEqual(10)
    expect(host.frames).toBe(host.questions.length) // a picture is taken for a question only: nothing queues up
    expect(host.mostRunning).toBe(1)
  })

  it('rests between answers', async () => {
    loop.startLive('a')
    await vi.advanceTimersByTimeAsync(3000)
    expect(host.questions[1]!.at - host.questions[0]!.at).toBe(TAKES + 100)
  })

  it('drops what is under way when the question changes, and shows none of it', async () => {
    loop.startLive('a')
    await vi.advanceTimersByTimeAsync(500)
    loop.startLive('b')
    await vi.advanceTimersByTimeAsync(TAKES)
    expect(host.log).toEqual(['idle', 'start a', 'start b', 'text b', 'answer b'])
    expect(host.questions[1]!.at - host.questions[0]!.at).toBe(500) // at once, not after the old answer or a rest
  })

  it('asks each question once, in order, and then waits', async () => {
    loop.ask('a', 'b', 'c')
    await vi.advanceTimersByTimeAsync(20_000)
    expect(host.questions.map(({ question }) => question)).toEqual(['a', 'b', 'c'])
    expect(host.log.at(-1)).toBe('idle')
    loop.ask('d')
    await vi.advanceTimersByTimeAsync(2000)
    expect(host.questions.map(({ question }) => question)).toEqual(['a', 'b', 'c', 'd'])
  })

  it('stops at once when paused, and goes on when it is to', async () => {
    loop.startLive('a')
    await vi.advanceTimersByTimeAsync(500)
    loop.pause()
    await vi.advanceTimersByTimeAsync(20_000)
    expect(host.log).toEqual(['idle', 'start a', 'idle'])
    loop.startLive('a')
    await vi.advanceTimersByTimeAsync(TAKES)
    expect(host.log.at(-1)).toBe('answer a')
  })

  it('waits for the first picture without losing the question', async () => {
    host.hasPicture = false
    loop.ask('a')
    await vi.advanceTimersByTimeAsync(1000)
    expect(host.questions).toEqual([])
    host.hasPicture = true
    await vi.advanceTimersByTimeAsync(2 * TAKES)
    expect(host.questions.map(({ question }) => question)).toEqual(['a'])
  })

  it('stops at a failure and says which', async () => {
    host.failure = new Failure('memory', 'no more')
    loop.startLive('a')
    await vi.advanceTimersByTimeAsync(20_000)
    expect(host.log).toEqual(['idle', 'start a', 'text a', 'failure memory', 'idle'])
  })
})
