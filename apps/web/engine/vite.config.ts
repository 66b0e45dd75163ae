/** Builds the package: `--mode page` for what a page imports, `--mode worker` for the worker, which is one file. */

import { copyFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'

import { defineConfig, type Plugin } from 'vite'

import { conditions, runtimeSizes } from './tools/from_source.ts'

const PACKAGED = 'packaged/assets.js'
const RUNTIME = ['ort-wasm-simd-threaded', 'ort-wasm-simd-threaded.asyncify'].flatMap((name) => [`${name}.mjs`, `${name}.wasm`])
/** What in the sources says where the other files lie; in the package that is {@link PACKAGED}. */
const PLACES = /\/(runtime_files|start)$/

/** The files beside the bundled ones, which are packed as they are. */
function files(): Plugin {
  const { resolve } = createRequire(import.meta.url)
  const sources = [PACKAGED, ...RUNTIME.map((name) => resolve(`onnxruntime-web/${name}`))]
  return {
    name: 'files',
    enforce: 'pre',
    resolveId: (id) => (PLACES.test(id) ? { id: `./${basename(PACKAGED)}`, external: true } : null),
    writeBundle({ dir }) {
      for (const source of sources) copyFileSync(source, join(dir as string, basename(source)))
    },
  }
}

export default defineConfig(({ mode }) => {
  const isPage = mode === 'page'
  return {
    // The worker is a file of its own; bundlers would look for a file of the runtime's own package where it says its address.
    define: { ...runtimeSizes(), ...(isPage ? {} : { 'import.meta.url': 'self.location.href' }) },
    resolve: { conditions },
    plugins: isPage ? [files()] : [],
    build: {
      target: 'es2022',
      emptyOutDir: isPage,
      reportCompressedSize: false,
      lib: { formats: ['es'], entry: isPage ? { index: 'src/index.ts', checks: 'src/checks.ts' } : { worker: 'src/worker/worker.ts' } },
      rolldownOptions: { output: { entryFileNames: '[name].js', chunkFileNames: '[name].js', codeSplitting: isPage } },
    },
  }
})
