/**
 * Opens a page that was built on the engine's package and waits for its `results`:
 * `node e2e/package.mjs ADDRESS [PICTURE QUESTION]`. With a picture it is the package's example page, which is used as a user
 * would, and the result is what it shows.
 */

import { openPage } from './browser.mjs'

const [address, picture, question] = process.argv.slice(2)
const { page, complaints, close } = await openPage({ camera: 'none' })
try {
  await page.goto(address)
  const results = picture ? await useExample() : await page.waitForFunction(() => globalThis.results, null, { timeout: 300_000 })
  console.log(JSON.stringify({ complaints, results: picture ? results : await results.jsonValue() }))
} finally {
  await close()
}

async function useExample() {
  const output = page.locator('output')
  const shows = (words) => page.waitForFunction((text) => document.querySelector('output').textContent.includes(text), words, { timeout: 120_000 })
  await shows('is ready')
  const ready = await output.textContent()
  await page.locator('input').nth(1).fill(question)
  await page.setInputFiles('input[type=file]', picture)
  await page.waitForFunction((before) => !['', before].includes(document.querySelector('output').textContent), ready, { timeout: 120_000 })
  await page.waitForTimeout(1000) // the last pieces
  const answer = await output.textContent()
  await page.setInputFiles('input[type=file]', { name: 'no.png', mimeType: 'image/png', buffer: Buffer.from('no picture') })
  await shows('not a picture')
  return { ready, answer }
}
