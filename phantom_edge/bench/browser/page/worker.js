// Fetches the job, runs it, and posts every step and the result back to the server that served the page.

import { features } from './features.js'
import { checkGolden, readGolden } from './golden.js'
import { measure, soak } from './measure.js'
import { watchWasmMemory } from './memory.js'
import { Phantom } from './phantom.js'

const tell = (line) => fetch('../told', { method: 'POST', body: JSON.stringify(line) })
const step = async (text) => { postMessage(text); await tell({ step: text }) }

async function work(job) {
  if (job.do === 'features') return { features: await features() }
  const wasmBytes = watchWasmMemory()
  await step('loading')
  const begin = performance.now()
  const phantom = await Phantom.load(job)
  const samples = { load: [(performance.now() - begin) / 1000] }
  const golden = await readGolden(job.golden)
  const conditions = {}
  if (job.check) {
    await step('checking the golden outputs')
    conditions.golden = await checkGolden(phantom, golden, job)
  }
  Object.assign(samples, await measure(phantom, golden, job, step))
  const curves = job.soak ? { soak: await soak(phantom, golden, job.settings.soak, step) } : {}
  conditions['WASM heap, MB'] = Math.round(wasmBytes() / 1e6)
  const runtime = { name: 'onnxruntime-web', version: phantom.version, provider: job.provider, threads: phantom.threads }
  return { run: { device: {}, runtime, model: { prompt_tokens: golden.input_ids.length, tiles: 1 }, samples, curves, conditions } }
}

try {
  const job = await (await fetch('../job.json')).json()
  await tell(await work(job))
} catch (error) {
  await tell({ error: `${error?.message ?? error}`, where: error?.golden ? '' : error?.stack?.split('\n')[1]?.trim() })
}
postMessage('Done. This page may be closed.')
