/** What a bundler must be told to build the engine from its sources, as this project does. */

import { statSync } from 'node:fs'
import { createRequire } from 'node:module'

import { defaultClientConditions, defaultServerConditions } from 'vite'

const RUNTIME = { wasm: 'ort-wasm-simd-threaded.wasm', webgpu: 'ort-wasm-simd-threaded.asyncify.wasm' }

/**
 * The engine's sources instead of a built package; and onnxruntime-web without its WASM glue inside: the glue starts
 * threads from its own address, which bundling changes.
 */
export const conditions = ['phantom-edge-source', 'onnxruntime-web-use-extern-wasm', ...defaultClientConditions]

/** As {@link conditions}, for tests in Node.js. */
export const nodeConditions = ['phantom-edge-source', ...defaultServerConditions]

/** Bytes of the runtime's WASM files, for the loading bar: a compressed response does not tell them. */
export function runtimeSizes(): Record<string, string> {
  const { resolve } = createRequire(import.meta.url)
  const sizes = Object.entries(RUNTIME).map(([provider, file]) => [provider, statSync(resolve(`onnxruntime-web/${file}`)).size])
  return { __RUNTIME_BYTES__: JSON.stringify(Object.fromEntries(sizes)) }
}
