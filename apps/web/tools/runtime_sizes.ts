/** Bytes of the runtime's WASM files, for the loading bar: a compressed response does not tell them. */

import { statSync } from 'node:fs'
import { createRequire } from 'node:module'

const FILES = { wasm: 'ort-wasm-simd-threaded.wasm', webgpu: 'ort-wasm-simd-threaded.asyncify.wasm' }

export function runtimeSizes(): Record<string, string> {
  const { resolve } = createRequire(import.meta.url)
  const sizes = Object.entries(FILES).map(([provider, file]) => [provider, statSync(resolve(`onnxruntime-web/${file}`)).size])
  return { __RUNTIME_BYTES__: JSON.stringify(Object.fromEntries(sizes)) }
}
