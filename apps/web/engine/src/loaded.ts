/** A model that has been loaded, as a page uses it: pictures and questions in, text out. */

import type { Check } from './bundle/golden'
import { capture, type Picture } from './capture'
import type { Crop, Square } from './crop'
import { Failure } from './failure'
import { checkChoices, type Form } from './form/form'
import type { Frame } from './frame'
import type { Answer, ModelInfo, Timing, Turn } from './model/engine'
import { checkSampling, type Sampling } from './model/sampling'
import type { ModelClient } from './worker/client'
import type { QuestionOptions } from './worker/messages'

const LONGEST_ANSWER = 128 // tokens, without maxTokens

export interface AskOptions {
  /** The square that is looked at, around a point or in pixels; without it the whole picture, pressed into a square. */
  readonly crop?: Crop | Square | undefined
  /** The answer is the likeliest of these texts, and has how likely each of them is. */
  readonly choices?: readonly string[] | undefined
  /** What the whole answer must match; see the documentation for what it may use. */
  readonly regex?: string | undefined
  /** Most tokens of the answer, 128 if not given. */
  readonly maxTokens?: number | undefined
  /** How the tokens of a free answer are chosen; without it, the likeliest. */
  readonly sampling?: Partial<Sampling> | undefined
  /** What was asked and answered before about the same picture, which the question may refer to; see {@link Model.chat}. */
  readonly turns?: readonly Turn[] | undefined
  /** One of {@link ModelInfo.sizes} to look with from now on. */
  readonly tileSize?: number | undefined
  /** Ends the answer early: it is then what there is of it, with `stop` as `cancelled`. */
  readonly signal?: AbortSignal | undefined
  /** Called with the whole text so far. */
  readonly onText?: ((text: string, timing: Timing) => void) | undefined
}

/** An answer, and the bytes of WebAssembly memory that the model has taken by then. */
export type ModelAnswer = Answer & { readonly memory: number }

const NEVER = new AbortController().signal

/** From {@link load}. Questions that come while another is answered wait for their turn. */
export class Model {
  private last: Promise<unknown> = Promise.resolve()
  private closed = false

  /** @internal */
  constructor(
    private readonly client: ModelClient,
    readonly info: ModelInfo,
  ) {}

  /**
   * Answers a question about a picture as it is at this moment.
   *
   * @throws {Failure} `picture` and `prompt` for what cannot be asked, `model` or `memory` when it cannot be computed.
   */
  async ask(picture: Picture, question: string, options: AskOptions = {}): Promise<ModelAnswer> {
    const { signal = NEVER, onText = () => undefined } = options
    const request = requestOf(options)
    const frame = await capture(picture, options.crop)
    return this.inTurn(() => (signal.aborted ? this.nothing() : this.client.ask(frame, question, request, signal, onText)))
  }

  /** As {@link ask}, piece by piece; whoever stops listening stops the answer. The generator returns the whole answer. */
  async *stream(picture: Picture, question: string, options: AskOptions = {}): AsyncGenerator<string, ModelAnswer, undefined> {
    const abort = new AbortController()
    const signal = options.signal ? AbortSignal.any([options.signal, abort.signal]) : abort.signal
    let [text, given, ended] = ['', 0, false]
    let wake = () => {}
    const onText = (now: string, timing: Timing) => {
      text = now
      options.onText?.(now, timing)
      wake()
    }
    const answer = this.ask(picture, question, { ...options, signal, onText })
    const end = (whole = text) => {
      text = whole
      ended = true
      wake()
    }
    answer.then((whole) => end(whole.text), () => end())
    try {
      while (!ended || given < text.length) {
        if (given === text.length) await new Promise<void>((resolve) => (wake = resolve))
        const piece = text.slice(given)
        given = text.length
        if (piece) yield piece
      }
      return await answer
    } finally {
      abort.abort()
    }
  }

  /** Several turns about one picture, as it is at this moment: each question may refer to what was said before. */
  async chat(picture: Picture, crop?: Crop | Square): Promise<Chat> {
    return new Chat(this, await capture(picture, crop))
  }

  /** Runs the bundle's recorded inputs and compares what comes out; true if all of it is as recorded. */
  async selfTest(onCheck: (check: Check) => void = () => undefined): Promise<boolean> {
    let passed = true
    await this.inTurn(() =>
      this.client.selfTest((check) => {
        passed &&= check.passed
        onCheck(check)
      }),
    )
    return passed
  }

  /** Gives everything back. What is under way fails with `cancelled`, and so does what is asked from now on. */
  close(): void {
    this.closed = true
    this.client.close(closed())
  }

  private inTurn<T>(job: () => T | Promise<T>): Promise<T> {
    const result = this.last.then(() => {
      if (this.closed) throw closed()
      return job()
    })
    this.last = result.catch(() => undefined)
    return result
  }

  /** The answer to a question that was taken back before its turn. */
  private nothing(): ModelAnswer {
    const { tile, sizes } = this.info
    const imageTokens = sizes.find(({ size }) => size === tile)?.tokens ?? 0
    const timing = { preprocess: 0, vision: 0, look: 0, firstToken: 0, total: 0, tokens: 0, tokensPerSecond: 0 }
    return { ...timing, text: '', ids: [], tile, imageTokens, stop: 'cancelled', memory: 0 }
  }
}

/** From {@link Model.chat}. */
export class Chat {
  private said: readonly Turn[] = []

  /** @internal */
  constructor(
    private readonly model: Model,
    readonly frame: Frame,
  ) {}

  /** What was asked and answered so far. */
  get turns(): readonly Turn[] {
    return this.said
  }

  /**
   * As {@link Model.ask}; an answer that was not cancelled becomes a turn.
   *
   * @throws {Failure} also `conversation` when the model holds no more turns: begin another.
   */
  async ask(question: string, options: Omit<AskOptions, 'crop' | 'turns'> = {}): Promise<ModelAnswer> {
    const turns = this.said
    const answer = await this.model.ask(this.frame, question, { ...options, turns })
    if (answer.stop !== 'cancelled') this.said = [...turns, { question, ids: answer.ids }]
    return answer
  }
}

function closed(): Failure {
  return new Failure('cancelled', 'The model was closed.')
}

/** @throws {Failure} `prompt` for options that do not go together or are not what they must be. */
function requestOf({ choices, regex, maxTokens = LONGEST_ANSWER, sampling, tileSize, turns }: AskOptions): QuestionOptions {
  const form = formOf(choices, regex)
  if (!Number.isInteger(maxTokens) || maxTokens < 1) throw new Failure('prompt', 'maxTokens must be a whole number from 1 on.')
  return { maxTokens, tileSize, form, turns, sampling: sampling && checkSampling(sampling) }
}

function formOf(choices: readonly string[] | undefined, regex: string | undefined): Form | undefined {
  if (choices !== undefined && regex !== undefined) throw new Failure('prompt', 'Give choices or a regex, not both.')
  if (choices === undefined) return regex === undefined ? undefined : { regex }
  checkChoices(choices)
  return { choices: [...choices] }
}
