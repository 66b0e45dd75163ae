import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { expect, it } from 'vitest'

const FOLDERS = ['src', 'engine/src']
const files = FOLDERS.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => join(folder, path)),
)
const imports = new Map(files.map((path) => [path, importsOf(path)]))

/** What a file imports, loads later or starts as a worker: files as their paths, packages by their names. */
function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8')
  const targets = text.matchAll(/(?:\bfrom |\bimport\(|\bimport |new URL\()'([^']+)'/g)
  return [...targets].map(([, target]) => fileOf(path, target as string))
}

function fileOf(path: string, target: string): string {
  return target.startsWith('.') ? `${join(dirname(path), target.replace(/\.ts$/, ''))}.ts` : target
}

/** The first circle that begins above `path`; empty where there is none. */
function circle(path: string, above: string[] = []): string[] {
  if (above.includes(path)) return [...above.slice(above.indexOf(path)), path]
  return (imports.get(path) ?? []).map((target) => circle(target, [...above, path])).find(({ length }) => length > 0) ?? []
}

it('no file imports itself through others, types included', () => {
  expect([...imports.values()].flat().length).toBeGreaterThan(50)
  expect(files.map((path) => circle(path)).filter(({ length }) => length > 0)).toEqual([])
})

it('the app and the engine meet in what the package exports, and nowhere else', () => {
  const { exports } = JSON.parse(readFileSync('engine/package.json', 'utf8')) as { exports: Record<string, object> }
  const names = Object.keys(exports).map((name) => join('phantom-edge-web', name))
  const ofEngine = (target: string) => /^(engine|phantom-edge-web)(\/|$)/.test(target)
  const isStray = (path: string, target: string) =>
    ofEngine(path) ? target.startsWith('src/') || target.startsWith('phantom-edge-web') : ofEngine(target) && !names.includes(target)
  const strays = [...imports].flatMap(([path, targets]) => targets.filter((target) => isStray(path, target)).map((target) => [path, target]))
  expect(strays).toEqual([])
  expect([...imports.values()].flat().filter((target) => names.includes(target)).length).toBeGreaterThan(10)
})
