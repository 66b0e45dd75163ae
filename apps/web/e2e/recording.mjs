/** Records the first minute as it goes: the first screen, the moving sample, a picture, a pin on it, the history. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { openPage, waitForAnswers } from './browser.mjs'

/**
 * Frames as JPEG in `folder`, with the milliseconds at which each appeared. `pins` are places on the gallery's picture `sample`
 * (0 to 1 from its left and top) at which "What is this?" is asked.
 */
export async function minute({ url, folder, sample, pins, question, width = 1280, height = 800 }) {
  const { page, context, complaints, close } = await openPage({ start: null, camera: 'none', viewport: { width, height } })
  await page.emulateMedia({ reducedMotion: 'no-preference', colorScheme: 'dark' })
  const frames = []
  const session = await context.newCDPSession(page)
  session.on('Page.screencastFrame', ({ data, metadata, sessionId }) => {
    const file = join(folder, `${String(frames.length).padStart(5, '0')}.jpg`)
    writeFileSync(file, Buffer.from(data, 'base64'))
    frames.push({ file, at: Math.round(metadata.timestamp * 1000) })
    session.send('Page.screencastFrameAck', { sessionId }).catch(() => undefined)
  })
  await session.send('Page.startScreencast', { format: 'jpeg', quality: 85, maxWidth: width, maxHeight: height })
  const begun = Date.now()
  await page.goto(url)
  await page.waitForFunction(() => document.querySelector('#loading').hidden, null, { timeout: 120_000 })
  const loaded = Date.now() - begun
  await page.waitForTimeout(1500)
  const chosen = Date.now()
  await page.click('#start-sample')
  await waitForAnswers(page, 1)
  const first = Date.now() - chosen
  await page.waitForFunction(() => new Set(globalThis.answers.map(({ text }) => text)).size >= 3, null, { timeout: 120_000 })
  const live = await page.evaluate(() => globalThis.answers.length)
  await page.click('#choose')
  await page.waitForTimeout(1500)
  await page.click(`[data-sample=${sample}]`)
  await waitForAnswers(page, live + 1)
  await page.waitForTimeout(1000)
  const answers = []
  for (const [x, y] of pins) {
    const place = await placeOf(page, x, y)
    const before = await page.evaluate(() => globalThis.answers.length)
    await page.mouse.click(...place)
    await waitForAnswers(page, before + 1)
    await page.waitForTimeout(1500)
    answers.push(await page.evaluate(() => globalThis.answers.at(-1).text))
  }
  const before = await page.evaluate(() => globalThis.answers.length)
  await page.fill('#question', question)
  await page.keyboard.press('Enter')
  await waitForAnswers(page, before + 1)
  await page.waitForTimeout(1500)
  answers.push(await page.evaluate(() => globalThis.answers.at(-1).text))
  await page.click('#past')
  await page.waitForFunction(() => [...document.querySelectorAll('.entry img')].every((img) => img.naturalWidth > 0))
  await page.waitForTimeout(2000)
  await session.send('Page.stopScreencast')
  await close()
  return { frames, loaded, first, answers, complaints }
}

/** A place of the still picture on the screen, in CSS pixels, however it is fitted into its box. */
function placeOf(page, x, y) {
  return page.$eval(
    '#still',
    (canvas, [x, y]) => {
      const box = canvas.getBoundingClientRect()
      const fit = getComputedStyle(canvas).objectFit === 'contain' ? Math.min : Math.max
      const scale = fit(box.width / canvas.width, box.height / canvas.height)
      return [box.left + box.width / 2 + (x - 0.5) * canvas.width * scale, box.top + box.height / 2 + (y - 0.5) * canvas.height * scale]
    },
    [x, y],
  )
}
