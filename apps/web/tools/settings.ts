/**
 * Plugin: app.json is read by the code that the page reads it with, so that a mistake ends the build instead. Its title and
 * the texts of its first language stand in the pages before any code runs, and in the web app's manifest.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

import { build, type Plugin, type Rolldown } from 'vite'

import { conditions } from '../engine/tools/from_source.ts'
import type { AppConfig } from '../src/config.ts'
import type { Texts } from '../src/i18n/text.ts'

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const MANIFEST = 'app.webmanifest'

type App = typeof import('../src/build.ts')

/** The app's settings and the texts of the first language that it offers. */
interface Words {
  readonly config: AppConfig
  readonly language: string
  readonly texts: Texts
}

export function settings(): Plugin {
  let words: Words
  let folders = { from: '', to: '' }
  return {
    name: 'settings',
    async configResolved({ root, publicDir, build }) {
      folders = { from: publicDir, to: resolve(root, build.outDir) }
      words = read(await loadApp(root), join(publicDir, 'app.json'))
    },
    transformIndexHtml: { order: 'pre', handler: (html) => written(titled(html, words.config.title), words) },
    configureServer({ middlewares }) {
      middlewares.use(`/${MANIFEST}`, (_, response) => {
        response.setHeader('Content-Type', 'application/manifest+json').end(manifest(folders.from, words))
      })
    },
    writeBundle() {
      writeFileSync(join(folders.to, MANIFEST), manifest(folders.from, words))
    },
  }
}

/** src/build.ts with what it imports in one file, because Node.js does not run TypeScript everywhere. */
async function loadApp(root: string): Promise<App> {
  const lib = { entry: 'src/build.ts', formats: ['es' as const] }
  const [bundle] = (await build({
    root,
    configFile: false,
    logLevel: 'silent',
    resolve: { conditions },
    build: { lib, write: false },
  })) as Rolldown.RolldownOutput[]
  if (!bundle) throw new Error('src/build.ts was not built')
  return import(`data:text/javascript,${encodeURIComponent(bundle.output[0].code)}`) as Promise<App>
}

function read({ parseConfig, TEXTS }: App, path: string): Words {
  try {
    const config = parseConfig(JSON.parse(readFileSync(path, 'utf8')))
    const [language = 'en'] = config.languages
    return { config, language, texts: { ...TEXTS[language], ...config.strings[language] } }
  } catch (error) {
    const { message } = error as Error
    const line = error instanceof SyntaxError ? `public/app.json is not JSON: ${message}` : message
    throw Object.assign(new Error(line), { stack: line }) // the user's mistake, not a place in our code
  }
}

/** The page with `title` as its title and its heading. */
function titled(html: string, title: string): string {
  const places = [/(<title>)[^<]*(<\/title>)/, /(<h1 id="(?:welcome-)?title">)[^<]*(<\/h1>)/g]
  return places.reduce((page, place) => page.replace(place, (_, before: string, after: string) => before + escaped(title) + after), html)
}

/** The page with the texts that its elements name, as `translate` of the page does. */
function written(html: string, { language, texts }: Words): string {
  const text = (key: string) => {
    if (!(key in texts)) throw new Error(`a page names the text ${key}, which src/i18n/en.ts does not have`)
    return escaped(texts[key as keyof Texts])
  }
  return html
    .replace('<html lang="en">', `<html lang="${language}">`)
    .replaceAll(/(data-text="([^"]+)"[^>]*>)/g, (_, tag: string, key: string) => tag + text(key))
    .replaceAll(/data-label="([^"]+)"/g, (name, key: string) => `${name} aria-label="${text(key)}"`)
    .replaceAll(/data-placeholder="([^"]+)"/g, (name, key: string) => `${name} placeholder="${text(key)}"`)
    .replaceAll(/data-content="([^"]+)"/g, (name, key: string) => `${name} content="${text(key)}"`)
}

/** What a device shows of the app that is installed, from what the file has and what app.json says. */
function manifest(folder: string, { config: { title }, language, texts }: Words): string {
  const file = JSON.parse(readFileSync(join(folder, MANIFEST), 'utf8')) as object
  const said = { lang: language, name: title, short_name: title, description: texts['page.description'] }
  return `${JSON.stringify({ ...said, ...file }, null, 2)}\n`
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"]/g, (character) => ESCAPES[character] ?? character)
}
