/** Where the graphs run: WebGPU when there is one and the bundle's operations exist on it, else WASM on the CPU. */

import asyncifyGlue from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url'
import asyncifyWasm from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url'
import wasmGlue from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url'
import wasm from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url'

import type { Manifest } from '../bundle/manifest'
import { Failure } from '../failure'

type Ort = typeof import('onnxruntime-web')
export type Provider = 'wasm' | 'webgpu'

const MOST_THREADS = 4
/** Integer operations that onnxruntime-web has for the CPU only; through WebGPU each of them would copy to and fro. */
const CPU_ONLY = ['DynamicQuantizeMatMul', 'MatMulInteger']

export interface Choice {
  readonly provider: Provider
  readonly threads: number
  /** Why, in a few words for the info panel. */
  readonly reason: string
}

/** Decides from what the bundle is made of and what the browser has, unless `device` and `threads` say it. */
export async function chooseProvider(
  manifest: Manifest,
  device: Provider | null,
  threads: number | null = null,
): Promise<Choice> {
  if (device === 'wasm') return onCpu('as requested', threads)
  if (device === null && operations(manifest).some((name) => CPU_ONLY.includes(name))) {
    return onCpu('int8 runs on the CPU', threads)
  }
  const missing = await missingOfGpu(manifest)
  if (missing === null) return { provider: 'webgpu', threads: 1, reason: 'this browser has WebGPU' }
  if (device === 'webgpu') {
    throw new Failure('browser', `${missing[0]?.toUpperCase()}${missing.slice(1)}. Open the page without ?device=webgpu.`)
  }
  return withoutWebGpu(manifest, missing, threads)
}

/**
 * What is left when there is no WebGPU, or it does not run the graphs rightly.
 *
 * @throws {Failure} `browser` for a bundle that runs nowhere else.
 */
export function withoutWebGpu(manifest: Manifest, reason: string, threads: number | null = null): Choice {
  if (manifest.format !== 'onnx') {
    const words = `This model is made for ${manifest.target}: ${reason}.`
    throw new Failure('browser', `${words} Use Chrome or Edge on a device with a GPU, or a bundle of --target web.`)
  }
  return onCpu(operations(manifest).includes('MatMulNBits') ? `${reason}; int8 would be faster` : reason, threads)
}

function operations(manifest: Manifest): string[] {
  return Object.values(manifest.counts).flatMap((counts) => Object.keys(counts))
}

function onCpu(reason: string, threads: number | null): Choice {
  const cores = crossOriginIsolated ? navigator.hardwareConcurrency || 1 : 1 // without isolation there is no sharing
  const most = Math.min(MOST_THREADS, cores - 1) // one stays with the camera and the page
  return { provider: 'wasm', threads: threads ?? Math.max(1, most), reason }
}

/** The build of onnxruntime-web that has the provider, set up. WASM alone is half as large to download. */
export async function loadOrt(choice: Choice): Promise<{ ort: Ort; files: string[] }> {
  const gpu = choice.provider === 'webgpu'
  const ort = (gpu ? await import('onnxruntime-web/webgpu') : await import('onnxruntime-web/wasm')) as Ort
  const addresses = gpu ? [asyncifyGlue, asyncifyWasm] : [wasmGlue, wasm]
  const [mjs, binary] = addresses.map((address) => new URL(address, location.href).href) as [string, string]
  ort.env.wasm.wasmPaths = { mjs, wasm: binary }
  ort.env.wasm.numThreads = choice.threads
  ort.env.logLevel = 'error'
  return { ort, files: [mjs, binary] }
}

interface Adapter {
  readonly features: ReadonlySet<string>
}

/** What this browser lacks to run the bundle on a GPU; null when it lacks nothing. */
async function missingOfGpu(manifest: Manifest): Promise<string | null> {
  const none = 'this browser has no WebGPU'
  try {
    const gpu = (navigator as { gpu?: { requestAdapter(): Promise<Adapter | null> } }).gpu
    const adapter = (await gpu?.requestAdapter()) ?? null
    if (adapter === null) return none
    // Only graphs that are made for WebGPU compute in the recipe's type; the others hold it and compute in 32 bits.
    const half = manifest.format !== 'onnx' && manifest.float === 'fp16'
    return half && !adapter.features.has('shader-f16') ? 'WebGPU has no 16-bit floats on this device' : null
  } catch {
    return none
  }
}
