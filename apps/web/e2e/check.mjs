/**
 * node e2e/check.mjs NAME '{"url": …}': one scenario in headless Chromium; prints what was seen as one line of JSON.
 * What must be true of it is said where it is run from (tests/apps_web).
 */

import { createInterface } from 'node:readline'

import { askAll, stillFrame, pointOnStage } from './asking.mjs'
import { LANDSCAPE, openPage, PORTRAIT, SIZES, waitForAnswers, waitForNotice } from './browser.mjs'
import { allOnPhone, backToCamera, changing, loading, quiet, withoutCamera, withoutGpu, zoomed } from './conditions.mjs'
import { ar, arPins } from './emulated_ar.mjs'
import { comingBack, gallery, history, incoming, meters, sample, turns, welcome } from './first_minute.mjs'
import { badSettings, forms } from './forms.mjs'
import { adjusting, speaking } from './languages.mjs'
import { auditAccessibility, lowContrast, measureLayout, watchShifts } from './page.mjs'
import { rendererBytes } from './processes.mjs'
import { point, sizes } from './pointing.mjs'
import { minute } from './recording.mjs'
import { webgpu } from './software_gpu.mjs'

const SCENARIOS = {
  answers, badSettings, details, forms, scenes, show, steady, offline, keyboard, screens, failure, isolation, picture, tap, ar, arPins,
  webgpu, point, sizes, withoutCamera, backToCamera, quiet, changing, zoomed, allOnPhone, loading, withoutGpu,
  welcome, sample, gallery, incoming, history, turns, comingBack, meters, speaking, adjusting, minute,
}

const [name, json] = process.argv.slice(2)
const result = await SCENARIOS[name](JSON.parse(json ?? '{}'))
console.log(JSON.stringify(result))

/** All preset questions about one still picture, with its pixels; then the self-test. */
async function answers({ url, video }) {
  const { page, complaints, close } = await openPage({ video })
  await page.goto(url)
  const [first] = await waitForAnswers(page, 1)
  const firstAnswer = await page.evaluate(() => performance.now())
  const all = await askAll(page)
  const frame = await stillFrame(page)
  const shown = await page.$$eval('#presets .answer', (cells) => cells.map((cell) => cell.textContent))
  await page.click('#about')
  await page.click('#test')
  await page.waitForFunction(() => document.querySelectorAll('#checks tbody tr').length >= 4, null, { timeout: 60_000 })
  const selfTest = await page.$$eval('#checks tbody tr', (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)))
  const facts = await page.$$eval('#facts dd', (cells) => cells.map((cell) => cell.textContent))
  await close()
  return { first, firstAnswer, answers: all, shown, frame, selfTest, facts, complaints }
}

/**
 * Another picture detail is chosen, the page is opened again, then the server is gone (by whoever runs this, on a line
 * from us) and one more is chosen. The bundle's files that were requested are listed for each part.
 */
async function details({ url, file, picture, sizes: [second, third] }) {
  const { page, complaints, close } = await openPage({ camera: 'none' })
  let requests = []
  page.on('request', (request) => {
    const { pathname } = new URL(request.url())
    if (pathname.includes('/bundle/')) requests.push(pathname.split('/bundle/')[1])
  })
  const part = async () => {
    const [answer] = (await page.evaluate(() => globalThis.answers)).slice(-1)
    const chosen = await page.$eval('#detail', (list) => list.value)
    const facts = await page.$$eval('#facts dd', (cells) => cells.map((cell) => cell.textContent))
    const seen = { answer, chosen, facts, requests }
    requests = []
    return seen
  }
  const open = async () => {
    await page.goto(url)
    await page.waitForFunction(() => !document.querySelector('#test').disabled, null, { timeout: 60_000 })
    await page.setInputFiles('#file', picture)
    await waitForAnswers(page, 1)
  }
  const choose = async (size) => {
    const before = await page.evaluate(() => globalThis.answers.length)
    await page.click('#adjust')
    await page.selectOption('#detail', String(size))
    if (file) await page.screenshot({ path: file })
    await page.click('#settings-close')
    return before
  }
  await open()
  const first = await part()
  const frame = await stillFrame(page)
  const options = await page.$$eval('#detail option', (list) => list.map((option) => option.textContent))
  const before = await choose(second)
  await waitForAnswers(page, before + 1)
  const changed = await part()
  await page.click('#about')
  await page.click('#test')
  await page.waitForFunction(() => document.querySelectorAll('#checks tbody tr').length >= 4, null, { timeout: 60_000 })
  const selfTest = await page.$$eval('#checks tbody tr', (rows) => rows.map((row) => row.cells[3].textContent))
  const axe = await auditAccessibility(page)
  await part() // the golden file is no part of what a size needs
  await open()
  const again = await part()
  console.log('CUT')
  const lines = createInterface({ input: process.stdin })
  await new Promise((resolve) => lines.once('line', resolve))
  lines.close()
  await choose(third)
  const notice = await waitForNotice(page)
  await page.click('#notice-close')
  await waitForAnswers(page, 2)
  const after = await part()
  await close()
  return { options, first, frame, changed, selfTest, axe, again, notice, after, complaints }
}

/** Every preset about each of the first `count` different pictures that the camera shows. */
async function scenes({ url, video, count }) {
  const { page, complaints, close } = await openPage({ video })
  await page.goto(url)
  await waitForAnswers(page, 1)
  await page.evaluate(() => {
    const seen = []
    const context = new OffscreenCanvas(16, 12).getContext('2d', { willReadFrequently: true })
    /** Whether that element shows a picture that is not among the kept ones. */
    globalThis.isNew = (selector, keep) => {
      context.drawImage(document.querySelector(selector), 0, 0, 16, 12)
      const { data } = context.getImageData(0, 0, 16, 12)
      const near = (other) => data.reduce((sum, value, n) => sum + Math.abs(value - other[n]), 0) < 2 * data.length
      if (seen.some(near)) return false
      if (keep) seen.push(data)
      return true
    }
  })
  const entries = []
  while (entries.length < count) {
    await page.waitForFunction(() => globalThis.isNew('#video', false), null, { timeout: 60_000, polling: 100 })
    await page.click('#pause')
    // On a slow machine the camera may have gone on in the meantime.
    if (await page.evaluate(() => globalThis.isNew('#still', true))) {
      const answers = await askAll(page)
      entries.push({ answers, frame: await stillFrame(page) })
    }
    await page.click('#pause')
  }
  await close()
  return { entries, complaints }
}

/** What the app looks like: questions one after the other at a point of the picture, then a picture of the page. */
async function show({ url, video, portrait, scale, at, questions, file }) {
  const { page, complaints, close } = await openPage({ video, viewport: portrait ? PORTRAIT : LANDSCAPE, scale })
  await page.goto(url)
  await waitForAnswers(page, 1)
  const answers = []
  for (const [n, question] of questions.entries()) {
    await page.getByRole('button', { name: question }).click()
    // Twice, because a tap on the pin where it already is moves nothing; what was answered before is then forgotten.
    if (n === 0) {
      for (const point of [[0.5, 0.15], at]) await page.mouse.click(...(await pointOnStage(page, point)))
      await page.click('#whole') // the questions are about all that is there
    }
    const before = await page.evaluate(() => globalThis.answers.length)
    await page.waitForFunction((count) => globalThis.answers.length > count, before, { timeout: 60_000 })
    answers.push(await page.evaluate(() => globalThis.answers.at(-1)))
  }
  const label = await page.$$eval('.label p', (lines) => lines.map((line) => line.textContent))
  await page.screenshot({ path: file })
  await close()
  return { answers, label, complaints }
}

/** Many answers about moving pictures: memory after some and after many. */
async function steady({ url, video, answers: count }) {
  const { page, context, complaints, close } = await openPage({ video, args: ['--js-flags=--expose-gc'] })
  await page.goto(url)
  const session = await context.newCDPSession(page)
  const marks = []
  for (const least of [Math.ceil(count / 3), count]) {
    const all = await waitForAnswers(page, least, 240_000)
    for (const place of [...page.workers(), page]) await place.evaluate(() => globalThis.gc())
    await page.waitForTimeout(300) // buffers are given back a little later
    const { usedSize } = await session.send('Runtime.getHeapUsage')
    marks.push({ answers: all.length, wasm: all.at(-1).memory, page: usedSize, resident: rendererBytes().resident })
  }
  const all = await waitForAnswers(page, count)
  await close()
  const gaps = all.slice(1).map(({ at }, n) => at - all[n].at)
  return { marks, gaps, questions: [...new Set(all.map(({ question }) => question))], complaints }
}

/** A first visit, then the network is cut (by whoever runs this, on a line from us), then a second run of the browser. */
async function offline({ url, video, profile }) {
  const first = await openPage({ video, profile })
  await first.page.goto(url)
  await waitForAnswers(first.page, 1)
  await first.page.waitForFunction(() => document.querySelector('[data-fact="info.offline"]')?.textContent.startsWith('yes'), null, {
    timeout: 60_000,
  })
  const stored = await first.page.evaluate(async () => {
    const names = await caches.keys()
    const entries = await Promise.all(names.map(async (name) => [name, (await (await caches.open(name)).keys()).length]))
    return Object.fromEntries(entries)
  })
  await first.close()
  console.log('CUT')
  const lines = createInterface({ input: process.stdin })
  await new Promise((resolve) => lines.once('line', resolve))
  lines.close()
  const second = await openPage({ video, profile })
  await second.page.goto(url)
  const [answer] = await waitForAnswers(second.page, 1)
  const isolated = await second.page.evaluate(() => crossOriginIsolated)
  await second.close()
  return { stored, answer, isolated, complaints: [...first.complaints] }
}

/** Everything by keyboard. */
async function keyboard({ url, video }) {
  const { page, complaints, close } = await openPage({ video })
  await page.goto(`${url}?engine=fake`)
  await waitForAnswers(page, 1)
  const reached = []
  for (let n = 0; n < 40; n++) {
    await page.keyboard.press('Tab')
    const focused = await page.evaluate(() => {
      const at = document.activeElement
      const ring = getComputedStyle(at)
      return { id: at.id || (at.querySelector('.question') ?? at).textContent, outline: parseFloat(ring.outlineWidth), tag: at.tagName }
    })
    if (focused.tag === 'BODY' || reached.some(({ id }) => id === focused.id)) break
    reached.push(focused)
  }
  const expected = await page.evaluate(() =>
    [...document.querySelectorAll('a[href], button, input, select')]
      .filter((control) => !control.disabled && control.checkVisibility() && !control.closest('dialog'))
      .map((control) => control.id || (control.querySelector('.question') ?? control).textContent),
  )
  const pill = () => page.textContent('#pill-text')
  const seen = {}
  await page.evaluate(() => document.activeElement.blur())
  await page.keyboard.press('Space')
  await page.waitForFunction(() => document.querySelector('#pill-text').textContent === 'Paused')
  seen.paused = await pill()
  seen.pauseText = await page.textContent('#pause-text')
  await page.keyboard.press('4')
  await page.waitForFunction(() => globalThis.answers.at(-1).question === 'What does the sign say?')
  seen.fourth = await page.$eval('#presets li:nth-child(4) button', (card) => card.getAttribute('aria-pressed'))
  seen.stillPaused = await page.textContent('#pause-text')
  const square = () => page.$eval('#stage', (stage) => stage.dataset.square)
  await page.focus('#pin')
  const before = await square()
  const pinBefore = await page.$eval('#pin', (pin) => pin.style.transform)
  for (let n = 0; n < 4; n++) await page.keyboard.press('ArrowRight')
  seen.squareMoved = before !== (await square())
  seen.pinMoved = pinBefore !== (await page.$eval('#pin', (pin) => pin.style.transform))
  await page.focus('#question')
  await page.keyboard.type('Is it 3 o clock?')
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => globalThis.answers.at(-1).question.startsWith('Is it'))
  seen.own = await page.textContent('.label .question')
  seen.spoken = await page.textContent('#spoken')
  await page.focus('#adjust')
  await page.keyboard.press('Enter')
  await page.uncheck('#digits')
  seen.dialog = await page.$eval('#settings', (dialog) => dialog.open && dialog.contains(document.activeElement))
  await page.keyboard.press('Escape')
  seen.dialogClosed = await page.$eval('#settings', (dialog) => !dialog.open && document.activeElement.id === 'adjust')
  await page.keyboard.press('1')
  seen.digitsOff = await page.$eval('#presets li:nth-child(1) button', (card) => card.getAttribute('aria-pressed'))
  await page.focus('#pause')
  await page.keyboard.press('Enter')
  seen.resumed = await page.textContent('#pause-text')
  await page.reload()
  await waitForAnswers(page, 1)
  await page.keyboard.press('2')
  seen.digitsRemembered = await page.$eval('#presets li:nth-child(2) button', (card) => card.getAttribute('aria-pressed'))
  await close()
  return { reached, expected, seen, complaints }
}

/** Looks at the page in several sizes and states: accessibility, contrast, layout; and that streaming moves nothing. */
async function screens({ url, video, folder }) {
  const states = []
  const { page, complaints, close } = await openPage({ video })
  await page.setViewportSize(PORTRAIT)
  await page.goto(`${url}?engine=fake`)
  await page.waitForSelector('#presets button')
  const shifts = await watchShifts(page)
  await waitForAnswers(page, 3)
  const streaming = await shifts()
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport)
    await page.waitForTimeout(150)
    await page.evaluate(() => {
      // The longest that the meters show, so that nothing is cut whatever the device.
      for (const [id, text] of [['first', '9.94 s'], ['speed', '1250 tok/s'], ['memory', '3250 MB']]) {
        document.getElementById(id).textContent = text
      }
    })
    const state = { size, layout: await measureLayout(page), contrast: await lowContrast(page) }
    if (['portrait', 'landscape'].includes(size)) state.axe = await auditAccessibility(page)
    if (folder) await page.screenshot({ path: `${folder}/${size}.png` })
    states.push(state)
  }
  await page.click('#about')
  states.push({ size: 'about', axe: await auditAccessibility(page), contrast: await lowContrast(page) })
  if (folder) await page.screenshot({ path: `${folder}/about.png` })
  await close()
  return { streaming, states, complaints }
}

/** Pages that cannot work as they are: what does each say? */
async function failure({ urls, camera = 'file', video }) {
  const { page, complaints, close } = await openPage({ video, camera, args: camera === 'refused' ? ['--deny-permission-prompts'] : [] })
  const seen = []
  for (const url of urls) {
    await page.goto(url)
    const notice = await waitForNotice(page)
    seen.push({ notice, axe: await auditAccessibility(page), contrast: await lowContrast(page), complaints: complaints.splice(0) })
  }
  await close()
  return { seen }
}

/** A host that sends no headers: the service worker adds them, so that there are threads. */
async function isolation({ url, video }) {
  const { page, complaints, close } = await openPage({ video })
  const response = await page.goto(url)
  const { 'cross-origin-opener-policy': header } = response.headers()
  await page.waitForFunction(() => crossOriginIsolated, null, { timeout: 30_000 })
  const [answer] = await waitForAnswers(page, 1)
  const shared = await page.evaluate(() => typeof SharedArrayBuffer === 'function')
  await close()
  return { header: header ?? null, shared, answer, complaints }
}

/** Without a camera a picture from a file does. */
async function picture({ url, file, other }) {
  const { page, close } = await openPage({ camera: 'none' })
  await page.goto(url)
  const notice = await waitForNotice(page)
  await page.setInputFiles('#file', file)
  const [first] = await waitForAnswers(page, 1)
  await page.click('#all')
  const count = await page.$$eval('#presets li', (cards) => cards.length)
  const all = await waitForAnswers(page, 1 + count)
  const looks = all.slice(1).map(({ look }) => look)
  await page.setInputFiles('#file', other)
  const refused = await waitForNotice(page)
  await close()
  return { notice, first, looks, refused }
}

/** A tap moves the pin, the square and the label, ends the answer under way, and asks again at once. */
async function tap({ url, video }) {
  const { page, complaints, close } = await openPage({ video, viewport: LANDSCAPE })
  await page.goto(`${url}?engine=fake`)
  await waitForAnswers(page, 1)
  const places = []
  for (const [x, y] of [[120, 300], [780, 640], [450, 120]]) {
    await page.waitForFunction(() => document.querySelector('#stage').dataset.state === 'answering')
    await page.mouse.click(x, y)
    places.push(
      await page.evaluate(() => {
        const box = (selector) => document.querySelector(selector).getBoundingClientRect().toJSON()
        return { pin: box('#pin'), label: box('.label'), stage: box('#stage'), finder: box('#finder'), text: document.querySelector('.label .answer').textContent }
      }),
    )
  }
  const running = await page.evaluate(async () => {
    const before = globalThis.answers.length
    await new Promise((resolve) => setTimeout(resolve, 1200))
    return globalThis.answers.length - before
  })
  await close()
  return { places, running, complaints }
}
