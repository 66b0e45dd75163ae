/** Where the graphs run: WebGPU when there is one and the bundle's operations exist on it, else WASM on the CPU. */

import type { Manifest } from '../bundle/manifest'
import { Failure } from '../failure'
import type { Cause, Provider, RuntimeFiles } from './options'

/** Of the runtime's WASM files, put here when the app is built. */
declare const __RUNTIME_BYTES__: Readonly<Record<Provider, number>>

type Ort = typeof import('onnxruntime-web')

const REASONS: Readonly<Record<Cause, string>> = {
  requested: 'as requested',
  int8: 'int8 runs on the CPU',
  webgpu: 'this browser has WebGPU',
  'no-webgpu': 'this browser has no WebGPU',
  'no-f16': 'WebGPU has no 16-bit floats on this device',
  'wrong-webgpu': 'WebGPU does not run it rightly here',
  fake: 'the page was opened with ?engine=fake',
}
const MOST_THREADS = 4
/** Integer operations that onnxruntime-web has for the CPU only; through WebGPU each of them would copy to and fro. */
const CPU_ONLY = ['DynamicQuantizeMatMul', 'MatMulInteger']

export interface Choice {
  readonly provider: Provider
  readonly threads: number
  readonly cause: Cause
  /** What was measured where the GPU computes wrongly, in English; empty elsewhere. */
  readonly detail: string
  /** Cause and detail in a few words. */
  readonly reason: string
  /** Whether it is the CPU for want of the GPU that the bundle is for. */
  readonly fellBack: boolean
}

/** Decides from what the bundle is made of and what the browser has, unless `device` and `threads` say it. */
export async function chooseProvider(
  manifest: Manifest,
  device: Provider | null,
  threads: number | null = null,
): Promise<Choice> {
  if (device === 'wasm') return onCpu('requested', threads)
  if (device === null && operations(manifest).some((name) => CPU_ONLY.includes(name))) {
    return onCpu('int8', threads)
  }
  const missing = await missingOfGpu(manifest)
  if (missing === null) return { provider: 'webgpu', threads: 1, cause: 'webgpu', detail: '', reason: REASONS.webgpu, fellBack: false }
  if (device === 'webgpu') {
    const reason = REASONS[missing]
    throw new Failure('browser', `${reason[0]?.toUpperCase()}${reason.slice(1)}. Leave the device to the engine.`)
  }
  return withoutWebGpu(manifest, missing, threads)
}

/**
 * What is left when there is no WebGPU, or it does not run the graphs rightly, as `detail` may tell. Every bundle for
 * browsers runs on the CPU.
 */
export function withoutWebGpu(manifest: Manifest, cause: Cause, threads: number | null = null, detail = ''): Choice {
  const isForGpu = manifest.format !== 'onnx' || operations(manifest).includes('MatMulNBits')
  const reason = `${REASONS[cause]}${detail && ` (${detail})`}`
  return {
    ...onCpu(cause, threads),
    detail,
    reason: isForGpu ? `${reason}; a bundle of --quant int8 would be faster` : reason,
    fellBack: isForGpu,
  }
}

function operations(manifest: Manifest): string[] {
  return Object.values(manifest.counts).flatMap((counts) => Object.keys(counts))
}

function onCpu(cause: Cause, threads: number | null): Choice {
  const cores = crossOriginIsolated ? navigator.hardwareConcurrency || 1 : 1 // without isolation there is no sharing
  const most = Math.min(MOST_THREADS, cores - 1) // one stays with the camera and the page
  return { provider: 'wasm', threads: threads ?? Math.max(1, most), cause, detail: '', reason: REASONS[cause], fellBack: false }
}

/** Bytes of the runtime that {@link loadOrt} loads. */
export function runtimeBytes({ provider }: Choice): number {
  return __RUNTIME_BYTES__[provider]
}

/**
 * The build of onnxruntime-web that has the provider, set up. WASM alone is half as large to download. `onBytes` is called
 * as its bytes arrive.
 *
 * @throws {Failure} `network`.
 */
export async function loadOrt(
  choice: Choice,
  runtime: RuntimeFiles,
  onBytes: (loaded: number) => void,
): Promise<{ ort: Ort; files: string[] }> {
  const gpu = choice.provider === 'webgpu'
  const ort = (gpu ? await import('onnxruntime-web/webgpu') : await import('onnxruntime-web/wasm')) as Ort
  const { glue, binary } = runtime[choice.provider]
  ort.env.wasm.wasmPaths = { mjs: glue, wasm: binary }
  ort.env.wasm.wasmBinary = await fetchCounting(binary, runtimeBytes(choice), onBytes)
  ort.env.wasm.numThreads = choice.threads
  ort.env.logLevel = 'error'
  return { ort, files: [glue, binary] }
}

/** A file's bytes. Its size is known beforehand, because a compressed response does not tell it. */
async function fetchCounting(url: string, size: number, onBytes: (loaded: number) => void): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(size)
  let loaded = 0
  try {
    const response = await fetch(url)
    const reader = response.ok ? response.body?.getReader() : undefined
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
      bytes.set(part.value, loaded)
      onBytes((loaded += part.value.length))
    }
  } catch {
    loaded = 0
  }
  if (loaded === size) return bytes.buffer
  throw new Failure('network', 'The runtime cannot be loaded. Check the connection and try again.')
}

interface Adapter {
  readonly features: ReadonlySet<string>
}

/** What this browser lacks to run the bundle on a GPU; null when it lacks nothing. */
async function missingOfGpu(manifest: Manifest): Promise<'no-webgpu' | 'no-f16' | null> {
  try {
    const gpu = (navigator as { gpu?: { requestAdapter(): Promise<Adapter | null> } }).gpu
    const adapter = (await gpu?.requestAdapter()) ?? null
    if (adapter === null) return 'no-webgpu'
    // Only graphs that are made for WebGPU compute in the recipe's type; the others hold it and compute in 32 bits.
    const half = manifest.format !== 'onnx' && manifest.float === 'fp16'
    return half && !adapter.features.has('shader-f16') ? 'no-f16' : null
  } catch {
    return 'no-webgpu'
  }
}
