/** Questions whose answers have a form: what the app says of each, and what it looks like. */

import { askAll, stillFrame } from './asking.mjs'
import { LANDSCAPE, openPage, PORTRAIT, waitForAnswers, waitForNotice } from './browser.mjs'
import { auditAccessibility, lowContrast, measureLayout } from './page.mjs'

/** Every preset of `settings`, which take the place of app.json, about one picture; `file` takes a picture of the last. */
export async function forms({ url, settings, picture, portrait, file }) {
  // Without a service worker, which would ask for the settings past the page.
  const viewport = portrait ? PORTRAIT : LANDSCAPE
  const { page, complaints, close } = await openPage({ camera: 'none', viewport, stores: false })
  const requests = []
  page.on('request', (request) => requests.push(request.url()))
  await page.route('**/app.json', (route) => route.fulfill({ json: settings }))
  await page.addInitScript(() => {
    globalThis.said = []
    document.addEventListener('phantom-edge:answer', () => {
      const visible = [...document.querySelectorAll('.label p')].filter((node) => node.checkVisibility())
      globalThis.said.push({ label: visible.map((node) => node.textContent), spoken: document.querySelector('#spoken').textContent })
    })
  })
  await page.goto(url)
  await page.waitForFunction(() => !document.querySelector('#test').disabled, null, { timeout: 60_000 })
  await page.setInputFiles('#file', picture)
  await waitForAnswers(page, 1)
  const answers = await askAll(page)
  const said = await page.evaluate((count) => globalThis.said.slice(-count), answers.length)
  const frame = await stillFrame(page)
  const cards = await page.$$eval('#presets .answer', (nodes) => nodes.map((node) => node.textContent))
  if (file) await page.screenshot({ path: file })
  const looks = { axe: await auditAccessibility(page), contrast: await lowContrast(page), layout: await measureLayout(page) }
  await close()
  return { answers, said, cards, frame, looks, requests, complaints }
}

/** What the page says of settings that are not right. */
export async function badSettings({ url, settings }) {
  const { page, close } = await openPage({ camera: 'none', stores: false })
  const seen = []
  for (const json of settings) {
    await page.route('**/app.json', (route) => route.fulfill({ json }))
    await page.goto(url)
    seen.push(await waitForNotice(page))
    await page.unroute('**/app.json')
  }
  await close()
  return { seen }
}
