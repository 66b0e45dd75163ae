/**
 * Build plugin: app.json is read by the code that the page reads it with, so that a mistake ends the build instead; and
 * its title is the page's before any code runs.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { build, type Plugin, type Rolldown } from 'vite'

import { conditions } from '../engine/tools/from_source.ts'
import type { AppConfig } from '../src/config.ts'

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

type Reader = typeof import('../src/config.ts')

export function settings(): Plugin {
  let config: AppConfig
  return {
    name: 'settings',
    apply: 'build',
    async configResolved({ root, publicDir }) {
      config = read(await reader(root), join(publicDir, 'app.json'))
    },
    transformIndexHtml: {
      order: 'pre',
      handler: (html, { filename }) => (filename.endsWith('index.html') ? titled(html, config.title) : html),
    },
  }
}

/** src/config.ts with what it imports in one file, because Node.js does not run TypeScript everywhere. */
async function reader(root: string): Promise<Reader> {
  const lib = { entry: 'src/config.ts', formats: ['es' as const] }
  const [bundle] = (await build({
    root,
    configFile: false,
    logLevel: 'silent',
    resolve: { conditions },
    build: { lib, write: false },
  })) as Rolldown.RolldownOutput[]
  if (!bundle) throw new Error('src/config.ts was not built')
  return import(`data:text/javascript,${encodeURIComponent(bundle.output[0].code)}`) as Promise<Reader>
}

function read({ parseConfig }: Reader, path: string): AppConfig {
  try {
    return parseConfig(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    const { message } = error as Error
    const line = error instanceof SyntaxError ? `public/app.json is not JSON: ${message}` : message
    throw Object.assign(new Error(line), { stack: line }) // the user's mistake, not a place in our code
  }
}

/** The page with `title` as its title and its heading. */
function titled(html: string, title: string): string {
  const text = title.replaceAll(/[&<>"]/g, (character) => ESCAPES[character] ?? character)
  const places = [/(<title>)[^<]*(<\/title>)/, /(<h1 id="title">)[^<]*(<\/h1>)/]
  return places.reduce((page, place) => page.replace(place, (_, before: string, after: string) => before + text + after), html)
}
