/** The inference worker: one model, one job at a time. The page stays fluid whatever the model does. */

import { asFailure, Failure } from '../failure'
import type { Pixels } from '../image/resize'
import type { Engine, Timing } from '../model/engine'
import { loadEngine } from '../model/load'
import { wasmBytes } from './memory'
import type { FrameData, FromWorker, ToWorker } from './messages'

let engine: Engine | null = null
let latest: { id: number; pixels: Pixels } | null = null
let running: { job: number; abort: AbortController } | null = null

const say = (message: FromWorker) => postMessage(message)

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === 'cancel') {
    if (running?.job === data.job) running.abort.abort()
    return
  }
  void work(data)
}

async function work(message: Exclude<ToWorker, { kind: 'cancel' }>): Promise<void> {
  const job = message.kind === 'load' ? null : message.job
  try {
    if (message.kind === 'load') await load(message.options)
    else if (message.kind === 'ask') await ask(message)
    else await selfTest(message.job)
  } catch (error) {
    const { code, message: text } = asFailure(error)
    say({ kind: 'failed', job, code, message: text })
  }
}

async function load(options: (ToWorker & { kind: 'load' })['options']): Promise<void> {
  engine = await loadEngine(options, (progress) => say({ kind: 'progress', progress }))
  say({ kind: 'ready', info: engine.info })
}

async function ask(message: ToWorker & { kind: 'ask' }): Promise<void> {
  const { job, question } = message
  const { maxTokens, tileSize, sampling, form } = message.options
  const pixels = take(message.frameId, message.frame)
  const abort = new AbortController()
  running = { job, abort }
  try {
    const { signal } = abort
    const onText = (text: string, timing: Timing) => say({ kind: 'text', job, text, timing })
    const answer =
      form && 'choices' in form
        ? await ready().rank(pixels, question, form.choices, { tileSize, signal })
        : await ready().ask(pixels, question, { maxTokens, tileSize, sampling, form, signal, onText })
    say({ kind: 'answer', job, answer, memory: wasmBytes() })
  } finally {
    running = null
  }
}

async function selfTest(job: number): Promise<void> {
  await ready().selfTest((check) => say({ kind: 'check', job, check }))
  say({ kind: 'checked', job })
}

function ready(): Engine {
  if (!engine) throw new Failure('model', 'The model is still loading.')
  return engine
}

/** The frame that came with the message, or the one of the question before. */
function take(id: number, frame: FrameData | null): Pixels {
  if (frame) {
    const { width, height, rgba } = frame
    latest = { id, pixels: { width, height, channels: 4, data: new Uint8Array(rgba) } }
  }
  if (latest?.id !== id) throw new Failure('model', 'The picture is no longer there. Ask again.')
  return latest.pixels
}
