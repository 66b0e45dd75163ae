/** The page's side of the inference worker: promises instead of messages. */

import type { Check } from '../bundle/golden'
import { Failure } from '../failure'
import type { Answer, ModelInfo, Progress, Timing } from '../model/engine'
import type { LoadOptions } from '../model/load'
import type { QuestionOptions, FrameData, FromWorker, ToWorker } from './messages'

export interface Frame extends FrameData {
  /** This copy of the pixels goes to the worker; the page may keep another as a thumbnail. */
  readonly rgba: ArrayBuffer
}

interface Job<T> {
  readonly resolve: (value: T) => void
  readonly reject: (failure: Failure) => void
}

interface AskJob extends Job<Answer & { memory: number }> {
  readonly onText: (text: string, timing: Timing) => void
}

interface CheckJob extends Job<void> {
  readonly onCheck: (check: Check) => void
}

/** One worker with one model. Whoever calls sees to it that one job runs at a time. */
export class ModelClient {
  private readonly worker: Worker
  private readonly asks = new Map<number, AskJob>()
  private readonly checks = new Map<number, CheckJob>()
  private loading: Job<ModelInfo> | null = null
  private jobs = 0
  private sent = -1

  constructor(private readonly onProgress: (progress: Progress) => void) {
    this.worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'model' })
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.receive(data)
    this.worker.onerror = (event) => this.failAll(new Failure('model', `The model stopped: ${event.message}`))
  }

  load(options: LoadOptions): Promise<ModelInfo> {
    return new Promise((resolve, reject) => {
      this.loading = { resolve, reject }
      this.send({ kind: 'load', options })
    })
  }

  /**
   * Asks about `frame`, whose buffer is handed over the first time. Aborting `signal` ends the answer early.
   */
  ask(
    frame: Frame,
    question: string,
    options: QuestionOptions,
    signal: AbortSignal,
    onText: (text: string, timing: Timing) => void,
  ): Promise<Answer & { memory: number }> {
    const job = ++this.jobs
    const known = frame.id === this.sent
    this.sent = frame.id
    return new Promise((resolve, reject) => {
      this.asks.set(job, { resolve, reject, onText })
      signal.addEventListener('abort', () => this.send({ kind: 'cancel', job }), { once: true })
      const { id, width, height, rgba } = frame
      const data = known ? null : { id, width, height, rgba }
      this.send({ kind: 'ask', job, frameId: id, frame: data, question, options }, data ? [rgba] : [])
      if (signal.aborted) this.send({ kind: 'cancel', job })
    })
  }

  selfTest(onCheck: (check: Check) => void): Promise<void> {
    const job = ++this.jobs
    return new Promise((resolve, reject) => {
      this.checks.set(job, { resolve, reject, onCheck })
      this.send({ kind: 'self-test', job })
    })
  }

  close(): void {
    this.worker.terminate()
  }

  private send(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer)
  }

  private receive(message: FromWorker): void {
    switch (message.kind) {
      case 'progress':
        return this.onProgress(message.progress)
      case 'ready':
        return this.loading?.resolve(message.info)
      case 'text':
        return this.asks.get(message.job)?.onText(message.text, message.timing)
      case 'answer':
        this.asks.get(message.job)?.resolve({ ...message.answer, memory: message.memory })
        this.asks.delete(message.job)
        return
      case 'check':
        return this.checks.get(message.job)?.onCheck(message.check)
      case 'checked':
        this.checks.get(message.job)?.resolve()
        this.checks.delete(message.job)
        return
      case 'failed':
        return this.fail(message.job, new Failure(message.code, message.message))
    }
  }

  private fail(job: number | null, failure: Failure): void {
    const waiting = job === null ? this.loading : (this.asks.get(job) ?? this.checks.get(job))
    waiting?.reject(failure)
    if (job === null) return
    this.asks.delete(job)
    this.checks.delete(job)
  }

  private failAll(failure: Failure): void {
    this.loading?.reject(failure)
    for (const job of [...this.asks.keys(), ...this.checks.keys()]) this.fail(job, failure)
  }
}
