/** Fetches the job beside the page, does it with the app's own engine, and reports every step and the result. */

import { asFailure, type Check, Failure, type Provider } from 'phantom-edge-web'
import { buildPrompt, loadSession, type Session, wasmBytes } from 'phantom-edge-web/measuring'

import { type Key, text, type Values } from '../i18n/text'
import { type Features, readFeatures } from './features'
import { measure, type Settings, soak, type Step } from './measure'

/** What `phantom_edge/bench/browser` writes as job.json. */
type Job =
  | { readonly do: 'features' }
  | {
      readonly do: 'measure'
      readonly provider: Provider
      readonly question: string
      /** Whether to run the bundle's recorded inputs first. */
      readonly check: boolean
      readonly settings: Settings & { readonly threads: number | null }
    }

/** One run of `phantom_edge/bench/results.py`. */
type Run = Record<'device' | 'runtime' | 'model' | 'samples' | 'curves' | 'conditions', object>

export type Report =
  /** In English for the terminal, and as a text of the page in any language. */
  | { readonly step: string; readonly key: Key; readonly values: Values }
  | { readonly error: string }
  | { readonly features: Features }
  | { readonly run: Run }

self.onmessage = async ({ data: page }: MessageEvent<string>) => {
  const report = async (line: Report) => {
    postMessage(line)
    await fetch(new URL('report', page), { method: 'POST', body: JSON.stringify(line) })
  }
  try {
    const job = (await (await fetch(new URL('job.json', page))).json()) as Job
    if (job.do === 'features') await report({ features: await readFeatures() })
    else await report({ run: await run(job, new URL('bundle/', page).href, (key, values = {}) => report({ step: text(key, values), key, values })) })
  } catch (error) {
    await report({ error: asFailure(error).message })
  }
}

async function run(job: Job & { do: 'measure' }, bundle: string, step: Step): Promise<Run> {
  const { provider, question, settings } = job
  await step('bench.loading')
  const options = { bundle, engine: 'model', device: provider, threads: settings.threads, keepVision: true } as const
  const session = await loadSession(options, () => undefined)
  if (session.graphs.provider !== provider) throw new Failure('browser', session.info.reason)
  const conditions: Record<string, unknown> = {}
  if (job.check) {
    await step('bench.checking')
    conditions.golden = await checkGolden(session)
  }
  const { image } = await session.golden()
  const samples = { load: [session.info.loadTime / 1000], ...(await measure(session, image, question, settings, step)) }
  const curves = settings.soak ? { soak: await soak(session, settings.soak, step) } : {}
  conditions['WASM heap, MB'] = Math.round(wasmBytes() / 1e6)
  return {
    device: {},
    runtime: { name: 'onnxruntime-web', provider, ...session.graphs.runtime },
    model: {
      prompt_tokens: buildPrompt(session.manifest, session.tokenizer, question).ids.length,
      tile_size: session.manifest.tiles.size,
      tiles: 1,
    },
    samples,
    curves,
    conditions,
  }
}

/** What the app's self-test measures, in the words of `phantom_edge/bench/task.py`. What is fast but wrong is not timed. */
async function checkGolden(session: Session): Promise<Record<string, unknown>> {
  const checks: Record<string, Check> = {}
  await session.selfTest((check) => {
    checks[check.name] = check
    if (check.passed) return
    const words = `${check.name} is ${check.value.toPrecision(2)} (limit ${check.limit}), so nothing was timed`
    throw new Failure('model', `the golden check failed: ${words}; run \`phantom-edge verify\` on the bundle`)
  })
  return {
    'image tokens': checks['image_features.rms']?.value,
    'prefill logits': checks['prefill_logits.rms']?.value,
    tokens: checks['generated_ids.tie']?.detail,
  }
}
