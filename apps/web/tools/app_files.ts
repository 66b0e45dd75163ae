/** Build plugin: SHA-256 of every file of the built app, written into the service worker. */

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'

import type { Plugin } from 'vite'

const WORKER = 'sw.js'
const PLACE = '__APP_FILES__'
/** The model is checked against its own manifest, the settings may be edited, the benchmark is no part of the app. */
const NOT_OURS = [/^bundle\//, /^app\.json$/, /^sw\.js$/, /^_headers$/, /^(assets\/)?bench/]

export function appFiles(): Plugin {
  let folder = ''
  return {
    name: 'app-files',
    apply: 'build',
    configResolved(config) {
      folder = resolve(config.root, config.build.outDir)
    },
    closeBundle() {
      const worker = join(folder, WORKER)
      const source = readFileSync(worker, 'utf8')
      if (!source.includes(PLACE)) throw new Error(`${WORKER} has no ${PLACE}: it was minified away`)
      writeFileSync(worker, source.replace(PLACE, JSON.stringify(hashes(folder))))
    },
  }
}

function hashes(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = entries.map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/')).sort()
  const ours = paths.filter((path) => !NOT_OURS.some((pattern) => pattern.test(path)))
  return Object.fromEntries(ours.map((path) => [path, sha256(join(folder, path))]))
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}
