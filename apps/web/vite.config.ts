import { defaultClientConditions, defineConfig } from 'vite'

import { appFiles } from './tools/app_files.ts'
import { contentPolicy } from './tools/content_policy.ts'
import { runtimeSizes } from './tools/runtime_sizes.ts'
import { settings } from './tools/settings.ts'

/** What WASM threads need; the built app's service worker adds it where a host cannot. */
const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
}

export default defineConfig({
  base: './', // any folder of any web server
  define: runtimeSizes(),
  // onnxruntime-web without its WASM glue inside: the glue starts threads from its own address, which bundling changes.
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions] },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // the content policy allows no data: scripts
    reportCompressedSize: false,
    chunkSizeWarningLimit: 600, // three.js, loaded for AR alone
    rolldownOptions: {
      input: { app: 'index.html', bench: 'bench.html', sw: 'src/sw.ts' },
      output: { entryFileNames: ({ name }) => (name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js') },
    },
  },
  worker: { format: 'es' },
  server: { headers: isolation },
  preview: { headers: isolation },
  plugins: [settings(), contentPolicy(), appFiles()],
})
