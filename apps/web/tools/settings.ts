/** Build plugin: app.json is read as the page will read it, so that a mistake ends the build instead. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Plugin } from 'vite'

import { parseConfig } from '../src/config.ts'

export function settings(): Plugin {
  return {
    name: 'settings',
    apply: 'build',
    configResolved({ publicDir }) {
      try {
        parseConfig(JSON.parse(readFileSync(join(publicDir, 'app.json'), 'utf8')))
      } catch (error) {
        const { message } = error as Error
        const line = error instanceof SyntaxError ? `public/app.json is not JSON: ${message}` : message
        throw Object.assign(new Error(line), { stack: line }) // the user's mistake, not a place in our code
      }
    },
  }
}
