/**
 * Writes public/THIRD_PARTY_NOTICES.txt: name, version and licence text of every package that ends up in the app.
 * With --check, only says whether the file is what it would write.
 */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const OUTPUT = 'public/THIRD_PARTY_NOTICES.txt'
const LICENCE = /^(licen[cs]e|copying|notice)(\.(md|txt|mit))?$/i
const MIT_TEXT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use,
copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom
the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`
/** Copyright of packages whose archives leave the licence text out, from their repositories. */
const HOLDERS = {
  'onnxruntime-common': 'Copyright (c) Microsoft Corporation',
  'onnxruntime-web': 'Copyright (c) Microsoft Corporation',
}

/** Types of other packages' interfaces: needed to compile, not part of what is built. */
const TYPES_ONLY = /^(@types\/.*|undici-types)$/

const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const sections = Object.entries(packages)
  .filter(([folder, entry]) => folder.startsWith('node_modules/') && !entry.link && !entry.dev && !entry.devOptional)
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([folder, { version }]) => ({ folder, name: folder.slice(folder.lastIndexOf('node_modules/') + 13), version }))
  .filter(({ name }) => !TYPES_ONLY.test(name))
  .map(({ folder, name, version }) => section(folder, name, version))
const notices = [head(), ...sections].join(`\n\n${'-'.repeat(100)}\n\n`) + '\n'

if (process.argv.includes('--check')) {
  const current = existsSync(OUTPUT) ? readFileSync(OUTPUT, 'utf8') : ''
  if (current !== notices) {
    console.error(`${OUTPUT} is not what the installed packages say: npm run notices`)
    process.exit(1)
  }
} else writeFileSync(OUTPUT, notices)

function head() {
  return `This app contains the following software, under the licences below. What ONNX Runtime is itself built from is listed in
ONNXRUNTIME_THIRD_PARTY_NOTICES.txt beside this file, and at https://github.com/microsoft/onnxruntime.`
}

function section(folder, name, version) {
  const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const files = readdirSync(folder).filter((file) => LICENCE.test(file)).sort()
  const text = files.map((file) => readFileSync(join(folder, file), 'utf8').trim()).join('\n\n') || declared(name, about)
  return `${name} ${version} (${about.license})\n\n${text.replaceAll('\r\n', '\n')}`
}

/** For an archive without a licence text: the text where its holder is known, else what the package says of itself. */
function declared(name, { license, author, repository }) {
  if (!license) throw new Error(`${name} declares no licence: it must not be part of the app`)
  if (HOLDERS[name] && license === 'MIT') return `MIT License\n\n${HOLDERS[name]}\n\n${MIT_TEXT}`
  const by = typeof author === 'object' ? author.name : author
  const at = typeof repository === 'object' ? repository.url : repository
  return `Its archive has no licence text. It declares the ${license} licence; by ${by ?? 'its contributors'}, ${at ?? ''}`
}
