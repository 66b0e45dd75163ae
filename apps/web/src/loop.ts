/**
 * The answering loop: take the newest picture, ask, stream, again. One job at a time and never a queue, so that an
 * answer is about what is before the camera now; whatever the user does cancels the job under way.
 */

import { type Answer, asFailure, type Failure, type Frame, type Timing } from 'phantom-edge-web'

export interface LoopHost {
  /** The newest picture, or null while there is none. */
  grab(): Promise<Frame | null>
  ask(
    frame: Frame,
    question: string,
    signal: AbortSignal,
    onText: (text: string, timing: Timing) => void,
  ): Promise<Answer & { memory: number }>
  onStart(question: string): void
  onText(question: string, text: string, timing: Timing): void
  onAnswer(question: string, answer: Answer & { memory: number }): void
  onFailure(failure: Failure): void
  onIdle(): void
}

/** Milliseconds: between an answer and the next look, and between two tries while there is no picture. */
const REST = 500
const RETRY = 100

export class AnswerLoop {
  private question = ''
  private live = false
  private once: string[] = []
  private abort: AbortController | null = null
  private wake: (() => void) | null = null
  private running = false

  constructor(
    private readonly host: LoopHost,
    private readonly rest = REST,
  ) {}

  get isLive(): boolean {
    return this.live
  }

  /** Runs until `stop`. */
  async run(): Promise<void> {
    this.running = true
    while (this.running) {
      const question = this.once.shift() ?? (this.live ? this.question : '')
      if (question === '') {
        this.host.onIdle()
        await this.sleep(null)
        continue
      }
      const pause = await this.turn(question)
      if (pause > 0) await this.sleep(pause)
    }
  }

  stop(): void {
    this.running = false
    this.interrupt()
  }

  /** Asks `question` again and again about the newest picture. */
  startLive(question: string): void {
    this.question = question
    this.live = true
    this.once = []
    this.interrupt()
  }

  /** Ends what is under way and asks nothing more by itself. */
  pause(): void {
    this.live = false
    this.once = []
    this.interrupt()
  }

  /** Asks each question once, in turn, instead of what is under way. */
  ask(...questions: string[]): void {
    this.once = questions
    this.interrupt()
  }

  private interrupt(): void {
    this.abort?.abort()
    this.wake?.()
  }

  /** One question. Returns how long to rest afterwards, in milliseconds. */
  private async turn(question: string): Promise<number> {
    const abort = new AbortController()
    this.abort = abort
    try {
      const frame = await this.host.grab()
      if (abort.signal.aborted) return 0
      if (!frame) {
        // A question that was asked once is not lost while the camera starts.
        if (!this.live) this.once.unshift(question)
        return RETRY
      }
      this.host.onStart(question)
      const answer = await this.host.ask(frame, question, abort.signal, (text, timing) => {
        if (!abort.signal.aborted) this.host.onText(question, text, timing)
      })
      if (answer.stop === 'cancelled' || abort.signal.aborted) return 0
      this.host.onAnswer(question, answer)
      return this.once.length > 0 ? 0 : this.rest
    } catch (error) {
      if (abort.signal.aborted) return 0
      this.live = false
      this.once = []
      this.host.onFailure(asFailure(error))
      return 0
    } finally {
      this.abort = null
    }
  }

  /** Sleeps for that long, or until something is to do. */
  private sleep(milliseconds: number | null): Promise<void> {
    return new Promise((resolve) => {
      const timer = milliseconds === null ? undefined : setTimeout(() => this.wake?.(), milliseconds)
      this.wake = () => {
        clearTimeout(timer)
        this.wake = null
        resolve()
      }
    })
  }
}
