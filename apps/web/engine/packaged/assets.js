// Where the package's other files lie: beside this one. Bundlers know these expressions and take the files along, so this
// file is packed as it is.

export function startWorker(folder) {
  if (folder) return new Worker(new URL('worker.js', folder), { type: 'module', name: 'model' })
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'model' })
}

export function runtimeFiles() {
  return {
    wasm: {
      glue: new URL('./ort-wasm-simd-threaded.mjs', import.meta.url).href,
      binary: new URL('./ort-wasm-simd-threaded.wasm', import.meta.url).href,
    },
    webgpu: {
      glue: new URL('./ort-wasm-simd-threaded.asyncify.mjs', import.meta.url).href,
      binary: new URL('./ort-wasm-simd-threaded.asyncify.wasm', import.meta.url).href,
    },
  }
}
