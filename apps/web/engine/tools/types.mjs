/** Finishes the package's types: imports get the endings that Node.js asks for, and what nobody can reach is left out. */

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const FOLDER = 'dist/types'
const RELATIVE = /(from '|import\(')(\.[^']*)'/g

const reached = new Set()

function reach(path) {
  if (reached.has(path)) return
  reached.add(path)
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replaceAll(RELATIVE, "$1$2.js'"))
  for (const [, , target] of text.matchAll(RELATIVE)) reach(join(dirname(path), `${target}.d.ts`))
}

for (const entry of ['index', 'checks']) reach(join(FOLDER, `${entry}.d.ts`))
for (const path of readdirSync(FOLDER, { recursive: true }).map((name) => join(FOLDER, name))) {
  if (path.endsWith('.d.ts') && !reached.has(path)) rmSync(path)
}
