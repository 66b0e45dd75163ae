/** What the page and the inference worker say to each other. */

import type { Check } from '../bundle/golden'
import type { FailureCode } from '../failure'
import type { Form } from '../form/form'
import type { Answer, ModelInfo, Progress, Timing } from '../model/engine'
import type { LoadOptions } from '../model/load'
import type { Sampling } from '../model/sampling'

/** A square of RGBA pixels; its buffer changes hands with the message. */
export interface FrameData {
  readonly id: number
  readonly width: number
  readonly height: number
  readonly rgba: ArrayBuffer
}

/** How a question is to be answered. */
export interface QuestionOptions {
  readonly maxTokens: number
  readonly tileSize: number | undefined
  readonly sampling?: Sampling | undefined
  /** With choices the answer comes with how likely each of them is. */
  readonly form: Form | undefined
}

export type ToWorker =
  | { readonly kind: 'load'; readonly options: LoadOptions }
  /** `frame` only when the worker does not hold it already: the last one is kept for further questions. */
  | {
      readonly kind: 'ask'
      readonly job: number
      readonly frameId: number
      readonly frame: FrameData | null
      readonly question: string
      readonly options: QuestionOptions
    }
  | { readonly kind: 'cancel'; readonly job: number }
  | { readonly kind: 'self-test'; readonly job: number }

export type FromWorker =
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'ready'; readonly info: ModelInfo }
  | { readonly kind: 'text'; readonly job: number; readonly text: string; readonly timing: Timing }
  | { readonly kind: 'answer'; readonly job: number; readonly answer: Answer; readonly memory: number }
  | { readonly kind: 'check'; readonly job: number; readonly check: Check }
  | { readonly kind: 'checked'; readonly job: number }
  /** `job` is null when loading failed. */
  | { readonly kind: 'failed'; readonly job: number | null; readonly code: FailureCode; readonly message: string }
