/** A headless Chromium with a camera that plays a file, and what every check wants to know of a page. */

import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

import { chromium } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']
export const PORTRAIT = { width: 390, height: 844 }
export const LANDSCAPE = { width: 1280, height: 800 }
/** Windows in which the page must be right. */
export const SIZES = {
  portrait: PORTRAIT,
  small: { width: 320, height: 568 },
  sideways: { width: 740, height: 360 },
  tablet: { width: 820, height: 1180 },
  landscape: LANDSCAPE,
}

/** The browser to use: $CHROMIUM, or the first on the PATH. */
export function findChromium() {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const installed = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync)
  const path = process.env.CHROMIUM ?? installed
  if (!path) throw new Error('no Chromium: set CHROMIUM to its path')
  return path
}

/**
 * Opens a browser with one page. `video` (.y4m or .mjpeg) plays as the camera; `camera` may also be 'none' for a machine
 * without one, or 'refused' for a user who says no. `profile` is a folder that keeps what the browser stores; without
 * `stores` there is no service worker. `start` is how the app begins where the address does not say; null for its first screen.
 */
export async function openPage({ video, camera = 'file', viewport = LANDSCAPE, profile = '', args = [], scale = 1, stores = true, start = 'camera' } = {}) {
  const flags = ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost', ...args]
  if (camera !== 'none') flags.push('--use-fake-device-for-media-stream')
  if (camera === 'file') flags.push('--use-fake-ui-for-media-stream')
  if (video) flags.push(`--use-file-for-fake-video-capture=${video}`)
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: findChromium(),
    args: flags,
    viewport,
    deviceScaleFactor: scale,
    permissions: camera === 'refused' ? [] : ['camera'],
    reducedMotion: 'reduce',
    serviceWorkers: stores ? 'allow' : 'block',
  })
  const page = context.pages()[0] ?? (await context.newPage())
  const goto = page.goto.bind(page)
  page.goto = (address, options) => goto(beginning(address, start), options)
  const complaints = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`)
  })
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`))
  await page.addInitScript(() => {
    globalThis.answers = []
    document.addEventListener('phantom-edge:answer', ({ detail }) =>
      globalThis.answers.push({ ...detail, at: performance.now() }),
    )
  })
  return { context, page, complaints, close: () => context.close() }
}

function beginning(address, start) {
  const url = new URL(address)
  if (start !== null && !url.searchParams.has('start')) url.searchParams.set('start', start)
  return url.href
}

/** Waits until `count` answers have been given since the page was opened, and returns all of them. */
export async function waitForAnswers(page, count, timeout = 120_000) {
  await page.waitForFunction((least) => globalThis.answers.length >= least, count, { timeout, polling: 50 })
  return page.evaluate(() => globalThis.answers)
}

/** Waits for the notice of a failure and returns its code and words. */
export async function waitForNotice(page, timeout = 60_000) {
  await page.waitForSelector('#notice:not([hidden])', { timeout })
  return page.evaluate(() => ({
    code: document.querySelector('#notice').dataset.code,
    title: document.querySelector('#notice-title').textContent,
    text: document.querySelector('#notice-text').textContent,
    pill: document.querySelector('#pill-text').textContent,
    ways: [...document.querySelectorAll('#notice button')].filter((b) => !b.hidden).map((b) => b.textContent),
  }))
}
