import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { build } from 'vite'
import { expect, it } from 'vitest'

import { appFiles } from '../tools/app_files'

it.each([
  ['a folder of the project', () => 'built'],
  ['a folder anywhere', (folder: string) => join(folder, 'elsewhere')],
])('the service worker knows the files of an app that is built into %s', async (_, outDir) => {
  const folder = mkdtempSync(join(tmpdir(), 'app-files-'))
  try {
    const root = join(folder, 'project')
    mkdirSync(join(root, 'public'), { recursive: true })
    writeFileSync(join(root, 'public', 'icon.svg'), '<svg/>')
    writeFileSync(join(root, 'sw.js'), 'self.files = __APP_FILES__\n')
    const to = outDir(folder)
    const rolldownOptions = { input: join(root, 'sw.js'), output: { entryFileNames: '[name].js' } }
    const options = { outDir: to, emptyOutDir: true, rolldownOptions }
    await build({ root, configFile: false, logLevel: 'silent', plugins: [appFiles()], build: options })
    const worker = readFileSync(join(to === 'built' ? join(root, to) : to, 'sw.js'), 'utf8')
    expect(worker).toMatch(/"icon\.svg":"[0-9a-f]{64}"/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
