/** The first minute: the first screen, the moving sample, the gallery, what is dropped and pasted, history, conversations. */

import { readFileSync } from 'node:fs'

import { stillFrame } from './asking.mjs'
import { LANDSCAPE, openPage, PORTRAIT, SIZES, waitForAnswers, waitForNotice } from './browser.mjs'
import { auditAccessibility, lowContrast } from './page.mjs'
import { rendererBytes } from './processes.mjs'

const WITH_ZOOM = { ...SIZES, zoomed: { width: 320, height: 256 } }

/** The first screen in every size: nothing is asked of the user, and every way can be reached. */
export async function welcome({ url, folder }) {
  const { page, complaints, close } = await openPage({ start: null, camera: 'refused' })
  await page.addInitScript(() => {
    globalThis.cameras = 0
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
    navigator.mediaDevices.getUserMedia = (wish) => {
      globalThis.cameras++
      return ask(wish)
    }
  })
  await page.goto(url)
  const progress = await page.waitForFunction(() => document.querySelector('#loading-bar').value > 0.05, null, { polling: 20 })
  const loading = await page.evaluate(() => document.querySelector('#welcome').contains(document.querySelector('#loading')))
  await page.waitForFunction(() => document.querySelector('#loading').hidden, null, { timeout: 60_000 })
  const states = []
  for (const [size, viewport] of Object.entries(WITH_ZOOM)) {
    await page.setViewportSize(viewport)
    for (const open of [false, true]) {
      await page.$eval('#welcome-model', (details, open) => (details.open = open), open)
      states.push({ size, open, ...(await reach(page, '#welcome')), axe: await auditAccessibility(page), contrast: await lowContrast(page) })
      if (folder) await page.screenshot({ path: `${folder}/welcome-${size}${open ? '-model' : ''}.png` })
    }
  }
  await page.$eval('#welcome-model', (details) => (details.open = false))
  const seen = { loading: loading && progress !== null, knows: await page.textContent('#welcome-knows') }
  seen.words = await page.$$eval('#welcome-lead, #welcome-private', (lines) => lines.map((line) => line.textContent.trim()))
  seen.commands = await page.textContent('#welcome-model pre')
  seen.tabs = await tabs(page)
  seen.cameras = await page.evaluate(() => globalThis.cameras)
  await page.setViewportSize(LANDSCAPE)
  await page.click('#welcome-adjust')
  await page.selectOption('#language', 'de')
  seen.german = await page.textContent('#start-camera .title')
  await page.selectOption('#language', 'en')
  await page.keyboard.press('Escape')
  seen.closed = await page.$eval('#settings', (dialog) => !dialog.open && document.activeElement.id)
  await page.keyboard.press('Shift+Tab')
  await page.focus('#start-picture')
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => document.querySelector('#gallery').open)
  seen.gallery = { axe: await auditAccessibility(page), contrast: await lowContrast(page), words: await page.$$eval('.sample', (all) => all.map((one) => one.textContent)) }
  await close()
  return { ...seen, states, complaints }
}

/** Whether everything that can be pressed is on the screen, or can be scrolled to, and nothing lies beside the window. */
function reach(page, root) {
  return page.evaluate((root) => {
    const controls = [...document.querySelectorAll(`${root} :is(button, summary, pre)`)].filter((one) => one.checkVisibility())
    const unreached = controls.filter((one) => {
      one.scrollIntoView({ block: 'center' })
      const { left, top, width, height } = one.getBoundingClientRect()
      const hit = document.elementFromPoint(left + width / 2, top + height / 2)
      return hit === null || !(one.contains(hit) || hit.contains(one)) || left < -1 || left + width > innerWidth + 1
    })
    document.querySelector(root).scrollTop = 0
    scrollTo(0, 0)
    const first = document.querySelector(`${root} .way`).getBoundingClientRect()
    return { unreached: unreached.map(({ id }) => id), width: document.documentElement.scrollWidth <= innerWidth, first: first.bottom <= innerHeight }
  }, root)
}

async function tabs(page) {
  await page.evaluate(() => document.activeElement?.blur())
  const reached = []
  for (let n = 0; n < 12; n++) {
    await page.keyboard.press('Tab')
    const at = await page.evaluate(() => document.activeElement.id || document.activeElement.tagName)
    if (at === 'BODY' || reached.includes(at)) break
    reached.push(at)
  }
  return reached
}

/** The moving sample: its answers change with what it shows. */
export async function sample({ url, question, stops, portrait, refused, file, motion }) {
  const viewport = portrait ? PORTRAIT : LANDSCAPE
  const { page, complaints, close } = await openPage({ start: refused ? 'camera' : null, camera: refused ? 'refused' : 'none', viewport, args: refused ? ['--deny-permission-prompts'] : [] })
  if (motion) await page.emulateMedia({ reducedMotion: 'no-preference' })
  await page.goto(url)
  const seen = {}
  if (refused) {
    seen.notice = await waitForNotice(page)
    await page.click('#notice-sample')
  } else {
    await page.focus('#start-sample')
    await page.keyboard.press('Enter')
  }
  await page.waitForFunction(() => document.querySelector('#stage').dataset.source === 'sample', null, { timeout: 30_000 })
  seen.focus = await page.evaluate(() => document.activeElement.id)
  await waitForAnswers(page, 1)
  await page.getByRole('button', { name: question }).click()
  const before = await page.evaluate(() => globalThis.answers.length)
  await page.waitForFunction(
    ({ before, stops }) => new Set(globalThis.answers.slice(before + 1).map(({ text }) => text)).size >= stops,
    { before, stops },
    { timeout: 120_000 },
  )
  if (file) await page.screenshot({ path: file })
  seen.answers = (await page.evaluate((n) => globalThis.answers.slice(n + 1), before)).map(({ text }) => text)
  await page.click('#pause')
  await page.waitForFunction(() => document.querySelector('#stage').dataset.state === 'paused', null, { timeout: 30_000 })
  const picture = () => page.$eval('#still', (canvas) => canvas.toDataURL())
  const stopped = await picture()
  await page.waitForTimeout(6000)
  seen.stands = stopped === (await picture())
  seen.axe = await auditAccessibility(page)
  seen.camera = await page.$eval('#camera', (way) => !way.hidden)
  await close()
  return { ...seen, complaints }
}

/** Every built-in picture, and the presets that are given for it. */
export async function gallery({ url, presets, file }) {
  const { page, complaints, close } = await openPage({ start: null, camera: 'none' })
  await page.goto(`${url}?start=picture`)
  await page.waitForFunction(() => document.querySelector('#gallery').open)
  await page.waitForFunction(() => document.querySelector('#loading').hidden, null, { timeout: 60_000 })
  await page.waitForFunction(() => [...document.querySelectorAll('.sample img')].every((img) => img.naturalWidth > 0))
  if (file) await page.screenshot({ path: file })
  const seen = {}
  for (const [name, questions] of Object.entries(presets)) {
    if (!(await page.$eval('#gallery', (dialog) => dialog.open))) await page.click('#choose')
    await page.click(`[data-sample=${name}]`)
    await page.waitForFunction(() => document.querySelector('#stage').dataset.state === 'paused', null, { timeout: 30_000 })
    seen[name] = {}
    for (const question of questions) {
      const before = await page.evaluate(() => globalThis.answers.length)
      await page.getByRole('button', { name: question }).click()
      await waitForAnswers(page, before + 1)
      seen[name][question] = await page.evaluate(() => globalThis.answers.at(-1).text)
    }
  }
  await close()
  return { seen, complaints }
}

/** Files and clipboards of every kind, dropped on the page and pasted into it. `files` are [name, type, path or text]. */
export async function incoming({ url, cases, folder }) {
  const { page, complaints, close } = await openPage({ start: null, camera: 'none' })
  await page.goto(`${url}?engine=fake`)
  await page.waitForFunction(() => document.querySelector('#loading').hidden)
  const seen = []
  for (const { way, files } of cases) {
    const data = files.map(({ name, type, path, repeat }) => ({ name, type, repeat, bytes: path ? readFileSync(path).toString('base64') : '' }))
    const answers = await page.evaluate(() => globalThis.answers.length)
    const over = await page.evaluate(give, { way, data })
    if (way === 'drop' && folder && seen.length === 0) {
      await page.evaluate(dragOver)
      await page.screenshot({ path: `${folder}/drop.png` })
      await page.evaluate(() => document.dispatchEvent(new DragEvent('dragleave')))
    }
    await page.waitForFunction(
      (before) => globalThis.answers.length > before || !document.querySelector('#notice').hidden,
      answers,
      { timeout: 30_000 },
    )
    const notice = await page.$eval('#notice', (one) => (one.hidden ? null : one.querySelector('#notice-text').textContent))
    seen.push({
      over, notice,
      ways: await page.$$eval('#notice button', (all) => all.filter((one) => one.checkVisibility()).map((one) => one.textContent)),
      inView: await page.$eval('#notice', (one) => one.hidden || one.checkVisibility()),
      hint: await page.$eval('#hint-source', (one) => (one.hidden ? '' : one.textContent)),
      source: await page.$eval('#stage', (stage) => stage.dataset.source ?? null),
      corner: await page.$eval('#still', corner),
      axe: notice ? await auditAccessibility(page) : [],
    })
    if (notice) await page.click('#notice-close')
  }
  await page.focus('#question')
  const typed = await page.evaluate(() => {
    const transfer = new DataTransfer()
    transfer.setData('text/plain', 'words')
    const event = new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true })
    document.querySelector('#question').dispatchEvent(event)
    return { prevented: event.defaultPrevented, notice: !document.querySelector('#notice').hidden }
  })
  await close()
  return { seen, typed, complaints }
}

/** Runs in the page: gives files as a user does, and whether the page showed where they fall meanwhile. */
function give({ way, data }) {
  const transfer = new DataTransfer()
  for (const { name, type, bytes, repeat } of data) {
    const one = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))
    transfer.items.add(new File(repeat ? Array(repeat).fill(new Uint8Array(1 << 20)) : [one], name, { type }))
  }
  if (data.length === 0) transfer.setData('text/plain', 'some words')
  if (way === 'paste') {
    document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true }))
    return null
  }
  const send = (type) => document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }))
  send('dragenter')
  send('dragover')
  const shown = document.querySelector('#drop').checkVisibility()
  send('drop')
  return shown && !document.querySelector('#drop').checkVisibility()
}

/** Runs in the page: RGBA of a canvas's first pixel, read from a copy, because the canvas itself is not for reading. */
function corner(canvas) {
  const copy = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
  copy.drawImage(canvas, 0, 0)
  return [...copy.getImageData(0, 0, 1, 1).data]
}

/** Runs in the page. */
function dragOver() {
  document.body.dispatchEvent(new DragEvent('dragenter', { dataTransfer: new DataTransfer(), bubbles: true, cancelable: true }))
}

/** The history: what is written into it, copied, shared, shown again and deleted. */
export async function history({ url, video, picture, folder }) {
  const { page, context, complaints, close } = await openPage({ video })
  await context.grantPermissions(['clipboard-read', 'clipboard-write', 'camera'])
  await page.addInitScript(() => {
    navigator.canShare = () => true
    navigator.share = async ({ text, files }) => void (globalThis.given = { text, files: files?.map(({ name, type, size }) => ({ name, type, size })) })
  })
  await page.goto(`${url}?engine=fake`)
  await waitForAnswers(page, 4)
  const seen = { live: await page.getAttribute('#past', 'title') }
  await page.setInputFiles('#file', picture)
  await page.waitForFunction(() => document.querySelector('#pill-text').textContent === 'Picture')
  await page.getByRole('button', { name: 'How many objects are there?' }).click()
  await page.waitForFunction(() => globalThis.answers.at(-1).question.startsWith('How many'))
  seen.given = await page.evaluate(() => globalThis.answers.at(-1).text)
  await page.click('#past')
  await page.waitForFunction(() => [...document.querySelectorAll('.entry img')].every((img) => img.naturalWidth > 0))
  const rows = () => page.$$eval('#history-list li', (all) => all.map((one) => [...one.querySelectorAll('.question, .answer, time')].map((part) => part.textContent)))
  seen.rows = await rows()
  seen.axe = await auditAccessibility(page)
  seen.contrast = await lowContrast(page)
  if (folder) await page.screenshot({ path: `${folder}/history.png` })
  await page.click('#history-list .copy')
  await page.waitForFunction(() => document.querySelector('#history-done').textContent !== '')
  seen.copied = { said: await page.textContent('#history-done'), text: await page.evaluate(() => navigator.clipboard.readText()) }
  await page.click('#history-list .share')
  await page.waitForFunction(() => globalThis.given)
  seen.shared = await page.evaluate(() => globalThis.given)
  await page.click('#history-list li:nth-child(2) .delete')
  seen.deleted = { rows: (await rows()).length, focus: await page.evaluate(() => document.activeElement.className) }
  await page.click('#history-close')
  await page.click('#camera')
  await page.waitForFunction(() => document.querySelector('#stage').dataset.source === 'camera')
  await page.click('#past')
  await page.locator('.entry', { hasText: 'How many objects' }).first().click()
  await page.waitForFunction(() => document.querySelector('#stage').dataset.source === 'picture')
  const answers = await page.evaluate(() => globalThis.answers.length)
  await page.waitForTimeout(500)
  seen.reopened = {
    newAnswers: (await page.evaluate(() => globalThis.answers.length)) - answers,
    label: await page.$$eval('.label p', (lines) => lines.map((line) => line.textContent)),
    frame: await stillFrame(page),
  }
  await page.fill('#question', 'And now?')
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => globalThis.answers.at(-1).question === 'And now?')
  seen.more = await page.evaluate(() => globalThis.answers.at(-1).text)
  if (folder) await page.screenshot({ path: `${folder}/reopened.png` })
  await page.click('#past')
  await page.click('#history-clear')
  seen.cleared = { rows: (await rows()).length, empty: await page.$eval('#history-empty', (line) => line.checkVisibility()) }
  await page.click('#history-close')
  seen.off = await page.$eval('#past', (way) => way.disabled)
  await close()
  return { ...seen, complaints }
}

/** A conversation about a picture: each question is asked after the ones before, until a new one begins. */
export async function turns({ url, picture, questions, portrait, file }) {
  const { page, complaints, close } = await openPage({ camera: 'none', viewport: portrait ? PORTRAIT : LANDSCAPE })
  await page.goto(url)
  await page.waitForFunction(() => !document.querySelector('#test').disabled, null, { timeout: 60_000 })
  await page.setInputFiles('#file', picture)
  await waitForAnswers(page, 1)
  const answerTo = async (question) => {
    const before = await page.evaluate(() => globalThis.answers.length)
    await page.fill('#question', question)
    await page.keyboard.press('Enter')
    return (await waitForAnswers(page, before + 1)).at(-1)
  }
  await page.click('#whole')
  await page.waitForFunction(() => document.querySelector('#whole').getAttribute('aria-pressed') === 'false')
  await page.click('#whole')
  await page.waitForFunction(() => document.querySelector('#stage').dataset.state === 'paused', null, { timeout: 30_000 })
  const first = (await page.evaluate(() => globalThis.answers.at(-1)))
  const answers = []
  for (const question of questions) answers.push(await answerTo(question))
  const seen = { first, answers, frame: await stillFrame(page) }
  seen.thread = await page.$$eval('#thread-list li', (all) => all.map((one) => [...one.children].map((part) => part.textContent)))
  seen.axe = await auditAccessibility(page)
  seen.contrast = await lowContrast(page)
  seen.placeholder = await page.getAttribute('#question', 'placeholder')
  if (file) await page.screenshot({ path: file })
  seen.twice = await answerTo(questions.at(-1))
  seen.length = (await page.$$('#thread-list li')).length
  await page.click('#thread-new')
  seen.fresh = { shown: await page.$eval('#thread', (thread) => thread.checkVisibility()), focus: await page.evaluate(() => document.activeElement.id) }
  seen.alone = await answerTo(questions[0])
  await close()
  return { ...seen, complaints }
}

/** Who used the camera comes back to it where the browser need not ask; others to the first screen. */
export async function comingBack({ url, video }) {
  const { page, complaints, close } = await openPage({ video, start: null })
  const state = () => page.evaluate(() => ({ welcome: document.querySelector('#welcome').checkVisibility(), source: document.querySelector('#stage').dataset.source ?? null }))
  const settled = () => page.waitForFunction(() => document.querySelector('#loading').hidden, null, { timeout: 30_000 })
  await page.goto(`${url}?engine=fake`)
  await settled()
  const seen = { first: await state() }
  await page.click('#start-camera')
  await waitForAnswers(page, 1)
  seen.camera = await state()
  await page.goto(`${url}?engine=fake`)
  await waitForAnswers(page, 1)
  seen.again = await state()
  await page.click('#about')
  await page.click('#again')
  seen.back = await state()
  seen.live = await page.$eval('#video', (video) => video.srcObject !== null)
  await close()
  return { ...seen, complaints }
}

/** What the meters say of short and of long answers, and what the page takes beside what its process does. */
export async function meters({ url, video, short, long }) {
  const { page, complaints, close } = await openPage({ video })
  await page.goto(url)
  await waitForAnswers(page, 1)
  const read = async (question) => {
    const before = await page.evaluate(() => globalThis.answers.length)
    await page.getByRole('button', { name: question }).click()
    await waitForAnswers(page, before + 2)
    await page.click('#pause')
    await page.waitForFunction(() => document.querySelector('#stage').dataset.state === 'paused')
    const meters = await page.$$eval('#meters dl div', (all) => all.map((one) => [one.children[0].textContent, one.children[1].textContent, one.children[1].title]))
    await page.click('#pause')
    return { meters, answer: await page.evaluate(() => globalThis.answers.at(-1)) }
  }
  const seen = { short: await read(short), long: await read(long) }
  await page.waitForFunction(() => document.querySelector('#memory-name').textContent === 'Memory', null, { timeout: 90_000 })
  seen.whole = await page.evaluate(async () => ({ isolated: crossOriginIsolated, ...(await performance.measureUserAgentSpecificMemory()) }))
  seen.process = rendererBytes()
  seen.shown = await page.textContent('#memory')
  seen.wasm = await page.evaluate(() => globalThis.answers.at(-1).memory)
  await page.click('#about')
  seen.fact = await page.textContent('[data-fact="info.memory"]')
  await close()
  return { ...seen, complaints }
}
