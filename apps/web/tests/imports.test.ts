import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { expect, it } from 'vitest'

const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))
const imports = new Map(files.map((path) => [path, importsOf(path)]))

function importsOf(path: string): string[] {
  const targets = readFileSync(join('src', path), 'utf8').matchAll(/from '(\.[^']+)'/g)
  return [...targets].map(([, target]) => `${join(dirname(path), (target as string).replace(/\.ts$/, ''))}.ts`)
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
