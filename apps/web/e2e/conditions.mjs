/** The page where something is missing, small or slow: no camera, no GPU, 400 % zoom, scenes that change, loading. */

import { openPage, PORTRAIT, waitForAnswers, waitForNotice } from './browser.mjs'
import { auditAccessibility, lowContrast, measureLayout } from './page.mjs'

/** Without a camera the model is ready all the same, a picture is answered, and there is a way back. */
export async function withoutCamera({ url, camera, picture, file }) {
  const args = camera === 'refused' ? ['--deny-permission-prompts'] : []
  const { page, complaints, close } = await openPage({ camera, args })
  await page.goto(url)
  await page.waitForFunction(() => !document.querySelector('#test').disabled, null, { timeout: 60_000 })
  const alive = () =>
    page.evaluate(() => ({
      pill: document.querySelector('#pill-text').textContent,
      controls: [...document.querySelectorAll('#panel button, #panel input, #bar button')]
        .filter((control) => !control.disabled && control.checkVisibility())
        .map((control) => control.id || control.textContent),
    }))
  const seen = { notice: await waitForNotice(page), ready: await alive(), axe: await auditAccessibility(page), contrast: await lowContrast(page) }
  if (file) await page.screenshot({ path: file })
  await page.setInputFiles('#file', picture)
  await waitForAnswers(page, 1)
  await page.waitForFunction(() => document.querySelector('#pill-text').textContent === 'Picture')
  seen.picture = await alive()
  await page.click('#camera')
  seen.again = await waitForNotice(page)
  seen.after = await alive()
  await close()
  return { ...seen, complaints }
}

/** A picture takes the camera's place, and the camera the picture's. */
export async function backToCamera({ url, video, picture }) {
  const { page, complaints, close } = await openPage({ video })
  await page.goto(`${url}?engine=fake`)
  await waitForAnswers(page, 1)
  const state = () =>
    page.evaluate(() => ({
      source: document.querySelector('#stage').dataset.source,
      camera: !document.querySelector('#camera').hidden,
      pause: !document.querySelector('#pause').disabled,
    }))
  const seen = { camera: await state() }
  await page.setInputFiles('#file', picture)
  await page.waitForFunction(() => document.querySelector('#pill-text').textContent === 'Picture')
  seen.picture = await state()
  await page.click('#camera')
  await page.waitForFunction(() => document.querySelector('#stage').dataset.source === 'camera')
  const before = await page.evaluate(() => globalThis.answers.length)
  await waitForAnswers(page, before + 2)
  seen.back = await state()
  await close()
  return { ...seen, complaints }
}

/** How often the page speaks and its pill changes in some seconds of answering; then what a tap makes it say. */
export async function quiet({ url, video, seconds }) {
  const { page, complaints, close } = await openPage({ video })
  await page.goto(`${url}?engine=fake`)
  await waitForAnswers(page, 1)
  await page.evaluate(() => {
    globalThis.changes = { spoken: [], 'pill-text': [] }
    for (const [id, words] of Object.entries(globalThis.changes)) {
      const node = document.getElementById(id)
      new MutationObserver(() => words.push(node.textContent)).observe(node, { childList: true, characterData: true, subtree: true })
    }
  })
  await page.waitForTimeout(1000 * seconds)
  const still = await page.evaluate(() => structuredClone(globalThis.changes))
  const answers = await page.evaluate(() => globalThis.answers.length)
  await page.mouse.click(300, 300)
  await waitForAnswers(page, answers + 2)
  const tapped = await page.evaluate((count) => globalThis.changes.spoken.slice(count), still.spoken.length)
  await page.click('#pause')
  const paused = await page.$eval('#pause', (pause) => [pause.textContent.trim(), pause.getAttribute('aria-pressed')])
  await close()
  return { still, answers, tapped, paused, complaints }
}

/** What stands in the label while scenes change: each text with what came before it. */
export async function changing({ url, video, question, answers: count }) {
  const { page, complaints, close } = await openPage({ video })
  await page.goto(url)
  await waitForAnswers(page, 1)
  await page.getByRole('button', { name: question }).click()
  await page.evaluate(() => {
    globalThis.texts = []
    const node = document.querySelector('.label .answer')
    const note = () => globalThis.texts.at(-1) !== node.textContent && globalThis.texts.push(node.textContent)
    new MutationObserver(note).observe(node, { childList: true, characterData: true, subtree: true })
  })
  const before = await page.evaluate(() => globalThis.answers.length)
  await waitForAnswers(page, before + count)
  const texts = await page.evaluate(() => globalThis.texts)
  const given = await page.evaluate((n) => globalThis.answers.slice(n).map(({ text }) => text), before)
  await close()
  return { texts, given, complaints }
}

/** A window of 320 × 256, as 1280 × 1024 at 400 % zoom is; `font` is the user's own size of letters. */
export async function zoomed({ url, video, file, viewport = { width: 320, height: 256 }, font = 16, language = 'en' }) {
  const args = [`--blink-settings=defaultFontSize=${font}`]
  const { page, complaints, close } = await openPage({ video, viewport, args, scale: 2 })
  await page.goto(`${url}?engine=fake&lang=${language}`)
  await waitForAnswers(page, 1)
  const layout = await measureLayout(page)
  const width = await page.evaluate(() => document.documentElement.scrollWidth)
  if (file) await page.screenshot({ path: `${file}-top.png` })
  const measured = await page.waitForFunction(() => {
    if (document.querySelector('.label .answer').textContent === '') return null // the scene has just changed
    return [...document.querySelectorAll('button, input, .label .answer')]
      .filter((control) => !control.closest('dialog') && control.checkVisibility())
      .map((control) => {
        control.scrollIntoView({ block: 'center', inline: 'center' })
        const { left, top, width, height } = control.getBoundingClientRect()
        const hit = document.elementFromPoint(left + width / 2, top + height / 2)
        const reached = hit !== null && (control.contains(hit) || hit.contains(control) || control.closest('.label') !== null)
        const visible = left >= -1 && top >= -1 && left + width <= innerWidth + 1 && top + height <= innerHeight + 1
        return { name: control.id || control.className || control.textContent, reached, visible, text: control.textContent }
      })
  })
  const controls = await measured.jsonValue()
  const scrolled = await page.evaluate(() => {
    document.querySelector('.label').scrollIntoView({ block: 'end' })
    const box = document.querySelector('.label').getBoundingClientRect()
    const stage = document.querySelector('#stage').getBoundingClientRect()
    return { label: box.toJSON(), stage: stage.toJSON() }
  })
  if (file) await page.screenshot({ path: `${file}-answer.png` })
  const axe = await auditAccessibility(page)
  await close()
  return { layout, width, controls, scrolled, axe, complaints }
}

/** "Ask all" on a phone: where the answers are then. */
export async function allOnPhone({ url, video, file, viewport = PORTRAIT }) {
  const { page, complaints, close } = await openPage({ video, viewport })
  await page.goto(`${url}?engine=fake`)
  await waitForAnswers(page, 1)
  const count = await page.$$eval('#presets li', (cards) => cards.length)
  const before = await page.evaluate(() => globalThis.answers.length)
  await page.click('#all')
  await waitForAnswers(page, before + count)
  const cells = await page.$$eval('#presets .answer', (nodes) =>
    nodes.map((node) => ({ text: node.textContent, ...node.getBoundingClientRect().toJSON() })),
  )
  const layout = await measureLayout(page)
  if (file) await page.screenshot({ path: file })
  await page.click('#pause')
  const compact = await page.$eval('#panel', (panel) => !panel.hasAttribute('data-all'))
  await close()
  return { cells, layout, compact, complaints }
}

/** What the loading card says until the model is ready, on a connection of some bytes a second, if that is given. */
export async function loading({ url, video, file }) {
  const { page, complaints, close } = await openPage({ video, stores: false })
  await page.addInitScript(() => {
    globalThis.bars = []
    const note = () => {
      const bar = document.querySelector('#loading-bar')
      const entry = { value: bar.value, step: document.querySelector('#loading-step').textContent, bytes: document.querySelector('#loading-bytes').textContent }
      if (JSON.stringify(entry) !== JSON.stringify(globalThis.bars.at(-1))) globalThis.bars.push(entry)
    }
    document.addEventListener('DOMContentLoaded', () =>
      new MutationObserver(note).observe(document.querySelector('#loading'), { attributes: true, childList: true, characterData: true, subtree: true }),
    )
  })
  const encodings = {}
  page.on('response', (response) => {
    const name = new URL(response.url()).pathname.split('/').at(-1)
    encodings[name] = response.headers()['content-encoding'] ?? ''
  })
  await page.goto(url)
  if (file) {
    await page.waitForFunction(() => document.querySelector('#loading-bar').value > 0.3, null, { polling: 20 })
    await page.screenshot({ path: file })
  }
  await waitForAnswers(page, 1)
  const bars = await page.evaluate(() => globalThis.bars)
  await close()
  return { bars, encodings, complaints: complaints.filter((line) => !line.includes('blocked by Playwright')) }
}

/** A bundle for a GPU in a browser that has none. */
export async function withoutGpu({ url, video }) {
  const { page, complaints, close } = await openPage({ video, args: ['--disable-gpu', '--disable-features=WebGPU'] })
  await page.goto(url)
  const [answer] = await waitForAnswers(page, 1)
  const hint = await page.$eval('#hint', (line) => (line.hidden ? '' : line.textContent))
  const device = await page.$$eval('#facts dd', (cells) => cells[2].textContent)
  const axe = await auditAccessibility(page)
  await close()
  return { answer, hint, device, axe, complaints }
}
