/** Where the runtime's own files lie. Built from its sources, the engine has them from the package onnxruntime-web. */

import asyncifyGlue from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url'
import asyncifyWasm from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url'
import wasmGlue from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url'
import wasm from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url'

import type { RuntimeFiles } from './model/options'

/** Whole addresses, for workers too. */
export function runtimeFiles(): RuntimeFiles {
  const whole = (address: string) => new URL(address, location.href).href
  return {
    wasm: { glue: whole(wasmGlue), binary: whole(wasm) },
    webgpu: { glue: whole(asyncifyGlue), binary: whole(asyncifyWasm) },
  }
}
