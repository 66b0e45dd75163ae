/** Answers without a model, so that the page can be built, tested and looked at anywhere. Says so in every answer. */

import type { Check } from '../bundle/golden'
import type { Pixels } from '../image/resize'
import type { Answer, AskOptions, Engine, ModelInfo, Progress, RankOptions } from './engine'

const STEP = 40 // milliseconds per word
const SIZES = [448, 336, 224].map((size) => ({ size, tokens: (size / 28) ** 2, bytes: 0 }))

export class FakeEngine implements Engine {
  readonly info: ModelInfo = {
    name: 'stand-in, no model',
    parameters: 0,
    knows: null,
    recipe: 'none',
    device: 'no model',
    reason: 'the page was opened with ?engine=fake',
    provider: null,
    threads: 1,
    cause: 'fake',
    detail: '',
    fellBack: false,
    tile: 448,
    sizes: SIZES,
    loadTime: 0,
    runtimeFiles: [],
  }

  static async load(onProgress: (progress: Progress) => void): Promise<FakeEngine> {
    for (let loaded = 0; loaded <= 4; loaded++) {
      onProgress({ part: 'model', step: 'Loading the model', loaded: loaded << 20, total: 4 << 20 })
      await pause(STEP)
    }
    return new FakeEngine()
  }

  async ask(frame: Pixels, question: string, options: AskOptions): Promise<Answer> {
    const after = options.turns?.length ? `, after ${options.turns.length} earlier,` : ''
    const words = `A stand-in answer to “${question}”${after} about ${frame.width} by ${frame.height} pixels.`.split(/(?<= )/)
    const start = performance.now()
    const { size: tile, tokens: imageTokens } = SIZES.find(({ size }) => size === options.tileSize) ?? SIZES[0]!
    const seen = { tile, imageTokens, ids: [] }
    const timing = { preprocess: 0, vision: STEP, look: STEP, firstToken: STEP, total: STEP, tokens: 0, tokensPerSecond: 1000 / STEP }
    let text = ''
    for (const [n, word] of words.slice(0, options.maxTokens).entries()) {
      await pause(STEP)
      if (options.signal.aborted) return { ...timing, ...seen, text, stop: 'cancelled' }
      text += word
      if (n === 0) timing.firstToken = performance.now() - start
      timing.tokens = n + 1
      timing.total = performance.now() - start
      options.onText(text, { ...timing })
    }
    return { ...timing, ...seen, text, stop: words.length > options.maxTokens ? 'length' : 'end' }
  }

  /** Each choice is half as likely as the one before. */
  async rank(frame: Pixels, question: string, choices: readonly string[], options: RankOptions): Promise<Answer> {
    const answer = await this.ask(frame, question, { ...options, maxTokens: 1, onText: () => undefined })
    if (answer.stop === 'cancelled') return answer
    const all = 2 - 2 ** (1 - choices.length)
    const likelihoods = choices.map((text, n) => ({ text, probability: 2 ** -n / all }))
    return { ...answer, text: choices[0] ?? '', stop: 'end', likelihoods }
  }

  async selfTest(onCheck: (check: Check) => void): Promise<void> {
    await pause(STEP)
    onCheck({ name: 'No model to test', value: 0, limit: 0, passed: true, detail: 'nothing' })
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
