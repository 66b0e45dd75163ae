import { defineConfig } from 'vite'

import { conditions, nodeConditions, runtimeSizes } from './engine/tools/from_source.ts'
import { appFiles } from './tools/app_files.ts'
import { contentPolicy } from './tools/content_policy.ts'
import { settings } from './tools/settings.ts'

/** What WASM threads need; the built app's service worker adds it where a host cannot. */
const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
}

export default defineConfig({
  base: './', // any folder of any web server
  define: runtimeSizes(),
  resolve: { conditions },
  ssr: { resolve: { conditions: nodeConditions } }, // the unit tests'
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
