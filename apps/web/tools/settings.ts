/**
 * Build plugin: app.json is read as the page will read it, so that a mistake ends the build instead; and its title is the
 * page's before any code runs.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Plugin } from 'vite'

import { type AppConfig, parseConfig } from '../src/config.ts'

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

export function settings(): Plugin {
  let config: AppConfig
  return {
    name: 'settings',
    apply: 'build',
    configResolved({ publicDir }) {
      config = read(join(publicDir, 'app.json'))
    },
    transformIndexHtml: {
      order: 'pre',
      handler: (html, { filename }) => (filename.endsWith('index.html') ? titled(html, config.title) : html),
    },
  }
}

function read(path: string): AppConfig {
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
