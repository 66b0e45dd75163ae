/** What answers questions about pictures: the model in onnxruntime-web, or the stand-in that tests of the page use. */

import type { Check } from '../bundle/golden'
import type { Form, Likelihood } from '../form/form'
import type { Pixels } from '../image/resize'
import type { Cause, Provider } from './options'
import type { Sampling } from './sampling'

/** What is being loaded or prepared; an app that speaks other languages names it by this. */
export type LoadPart = 'model' | 'runtime' | 'vision_encoder' | 'token_embedding' | 'text_decoder' | 'gpu'

export interface Progress {
  readonly part: LoadPart
  /** The same in English. */
  readonly step: string
  readonly loaded: number
  readonly total: number
}

export interface ModelInfo {
  readonly name: string
  readonly parameters: number
  /** What the model knows, in its own sentence; null where it does not say. */
  readonly knows: string | null
  readonly recipe: string
  /** Where it runs, e.g. `WASM, 2 threads`, and why. */
  readonly device: string
  readonly reason: string
  /** The same for an app that speaks other languages; the stand-in has no provider. */
  readonly provider: Provider | null
  readonly threads: number
  readonly cause: Cause
  /** What was measured where the GPU computes wrongly, in English; empty elsewhere. */
  readonly detail: string
  /** Whether it is the CPU for want of the GPU that the bundle is for. */
  readonly fellBack: boolean
  /** Side of the square picture it sees, and every one that may be chosen instead. */
  readonly tile: number
  readonly sizes: readonly PictureSize[]
  /** Milliseconds from the start of loading until the first question can be asked. */
  readonly loadTime: number
  /** Addresses of the runtime's own files, to be kept for use without a network. */
  readonly runtimeFiles: readonly string[]
}

/** How finely the model may look: pixels along a side, the image tokens of them, and bytes to load in all. */
export interface PictureSize {
  readonly size: number
  readonly tokens: number
  readonly bytes: number
}

/** Milliseconds and counts of an answer. */
export interface Timing {
  /** Resizing the picture, and the vision encoder; 0 when the picture had been looked at before. */
  readonly preprocess: number
  readonly vision: number
  /** Both, and the prefill of the image; 0 as well. */
  readonly look: number
  /** From the question to the first token, `look` included. */
  readonly firstToken: number
  /** From the question to the last token. */
  readonly total: number
  readonly tokens: number
  readonly tokensPerSecond: number
}

export interface Answer extends Timing {
  readonly text: string
  /** The tokens of the text. */
  readonly ids: readonly number[]
  /** Side in pixels of the square that was looked at, and its image tokens in the prompt. */
  readonly tile: number
  readonly imageTokens: number
  /** Why it ended: an end token, the cap on tokens, the end of the context, or because someone cancelled it. */
  readonly stop: 'end' | 'length' | 'context' | 'cancelled'
  /**
   * The probability that the model itself gave to the answer's tokens and to their end; null for an answer that is cut
   * or longer than twelve tokens, and for a ranking.
   */
  readonly confidence?: number | null
  /** Of a ranking that ended: all choices, the likeliest first, which is the text. */
  readonly likelihoods?: readonly Likelihood[]
}

/** An earlier question about the same picture, and the tokens of its answer. */
export interface Turn {
  readonly question: string
  readonly ids: readonly number[]
}

export interface RankOptions {
  /** What was asked and answered before, which the question may refer to; without it, the question stands by itself. */
  readonly turns?: readonly Turn[] | undefined
  /** Which of the model's sizes to look with, as {@link ModelInfo.sizes}; without it, as the question before. */
  readonly tileSize?: number | undefined
  readonly signal: AbortSignal
}

export interface AskOptions extends RankOptions {
  readonly maxTokens: number
  /** How a free answer's tokens are chosen; without it, the likeliest. */
  readonly sampling?: Sampling | undefined
  /** What the answer may be; without it, anything. Each token is then the likeliest of those that fit. */
  readonly form?: Form | undefined
  /** Called with the whole text so far, at most once per token. */
  readonly onText: (text: string, timing: Timing) => void
}

export interface Engine {
  readonly info: ModelInfo
  /** Answers a question about `frame`. The same object is the same frame: several questions on one cost one look. */
  ask(frame: Pixels, question: string, options: AskOptions): Promise<Answer>
  /** As `ask`, with the likeliest of some choices, and how likely each is: exactly, at a decoder call per token. */
  rank(frame: Pixels, question: string, choices: readonly string[], options: RankOptions): Promise<Answer>
  /** Runs the bundle's recorded inputs and compares. */
  selfTest(onCheck: (check: Check) => void): Promise<void>
}
