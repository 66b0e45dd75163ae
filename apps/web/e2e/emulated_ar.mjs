/**
 * A phone's AR session for headless Chromium: WebXR by Meta's emulator (iwer), which has no DOM overlay and no camera
 * access; so the overlay is the page itself, the camera's picture one that is given, and the only surface a wall.
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

import { openPage, PORTRAIT, waitForAnswers } from './browser.mjs'
import { auditAccessibility, lowContrast } from './page.mjs'

const emulator = readFileSync(createRequire(import.meta.url).resolve('iwer/build/iwer.min.js'), 'utf8')
/** Chromium without a GPU draws WebGL only with this argument. */
const AR_FLAGS = ['--enable-unsafe-swiftshader']

/** An AR session: pins on a wall, each with its answer, that stay where they are while the device turns. */
export async function ar({ url, video, picture, question, file }) {
  const { page, complaints, close } = await openPage({ video, viewport: PORTRAIT, args: AR_FLAGS })
  await emulateAr(page, picture)
  await page.goto(url)
  await waitForAnswers(page, 1)
  await page.getByRole('button', { name: question }).click()
  const seen = {}
  await page.click('#ar')
  await page.waitForFunction(() => document.querySelector('#pill-text').textContent === 'Place a pin', null, { timeout: 60_000 })
  seen.camera = await page.$eval('#video', (video) => video.hidden)
  const before = await page.evaluate(() => globalThis.answers.length)
  await select(page)
  await waitForAnswers(page, before + 1)
  const around = await page.evaluate(() => globalThis.answers.length)
  await press(page, '#whole')
  seen.answer = (await waitForAnswers(page, around + 1)).at(-1)
  seen.stage = await page.$eval('#stage', (stage) => [stage.clientWidth, stage.clientHeight])
  seen.fov = await page.evaluate(() => globalThis.device.fovy)
  const labels = () => page.$$eval('.label', readLabels)
  seen.ahead = await labels()
  if (file) await page.screenshot({ path: file })
  await turn(page, -10)
  await page.waitForTimeout(500)
  seen.turned = await labels()
  await select(page)
  const again = await page.evaluate(() => globalThis.answers.length)
  await waitForAnswers(page, again + 1)
  seen.second = await labels()
  await turn(page, 120)
  await page.waitForTimeout(500)
  seen.away = await labels()
  await page.evaluate(() => globalThis.device.activeSession.end())
  await page.waitForFunction(() => !document.querySelector('#video').hidden, null, { timeout: 30_000 })
  const back = await page.evaluate(() => globalThis.answers.length)
  await waitForAnswers(page, back + 1)
  seen.after = { labels: await labels(), ar: await page.$eval('#app', (app) => 'ar' in app.dataset) }
  await close()
  return { ...seen, complaints }
}

/** Four pins at one place, the first by button and key, then the newest and an older one are deleted. */
export async function arPins({ url, video, picture, file }) {
  const { page, complaints, close } = await openPage({ video, viewport: PORTRAIT, args: AR_FLAGS })
  await emulateAr(page, picture)
  await page.goto(`${url}?engine=fake`)
  await waitForAnswers(page, 1)
  await page.click('#ar')
  await page.waitForFunction(() => document.querySelector('#pill-text').textContent === 'Place a pin', null, { timeout: 60_000 })
  const answered = async (act) => {
    const before = await page.evaluate(() => globalThis.answers.length)
    await act()
    await waitForAnswers(page, before + 1)
    await page.waitForTimeout(200)
    return page.$$eval('.label', readLabels)
  }
  const seen = {}
  await page.focus('#place')
  seen.first = await answered(() => page.keyboard.press('Enter'))
  seen.said = await page.textContent('#spoken')
  await answered(() => select(page))
  await answered(() => press(page, '#place'))
  seen.four = await answered(() => press(page, '#place'))
  seen.panel = await page.$eval('#panel', (panel) => panel.getBoundingClientRect().top)
  seen.axe = await auditAccessibility(page)
  seen.contrast = await lowContrast(page)
  if (file) await page.screenshot({ path: file })
  seen.three = await answered(() => press(page, '.label .delete', -1))
  seen.focus = await page.evaluate(() => document.activeElement.id)
  seen.two = await answered(() => press(page, '.label .delete'))
  await answered(() => press(page, '.label .delete'))
  await press(page, '.label .delete')
  await page.waitForFunction(() => document.querySelector('#pill-text').textContent === 'Place a pin')
  seen.none = (await page.$$eval('.label', readLabels)).filter(({ hidden }) => !hidden)
  await press(page, '#camera')
  await page.waitForFunction(() => document.querySelector('#stage').dataset.source === 'camera')
  const back = await page.evaluate(() => globalThis.answers.length)
  await waitForAnswers(page, back + 1)
  seen.after = await page.$$eval('.label', readLabels)
  seen.deletes = await page.locator('.label .delete:visible').count()
  await close()
  return { ...seen, complaints }
}

/** A click on a control: the emulator's canvas lies over the page, where a phone has the page over the room. */
function press(page, selector, n = 0) {
  return page.$$eval(selector, (nodes, at) => nodes.filter((node) => node.checkVisibility()).at(at).click(), n)
}

/** Runs in the page: where each label's pin is, what it says, and the box that it fills. */
function readLabels(boxes) {
  return boxes.map((box) => {
    const [x, y] = (box.dataset.point ?? '').split(',').map(Number)
    const answer = box.querySelector('.answer').textContent
    return { hidden: box.hidden, x, y, answer, small: box.classList.contains('small'), box: box.getBoundingClientRect().toJSON() }
  })
}

/** To be called before the page is opened. `picture` is an image file that the AR camera sees, a wall is 2 m away. */
async function emulateAr(page, picture) {
  const image = `data:image/png;base64,${readFileSync(picture).toString('base64')}`
  await page.addInitScript(emulator)
  await page.addInitScript(install, image)
}

/** Turns the device to the left, in degrees. */
function turn(page, degrees) {
  return page.evaluate((angle) => {
    const half = (angle * Math.PI) / 360
    globalThis.device.quaternion.set(0, Math.sin(half), 0, Math.cos(half))
  }, degrees)
}

/** What a tap on the screen does in AR. */
async function select(page) {
  for (const value of [1, 0]) {
    await page.evaluate((pressed) => globalThis.device.controllers.right.updateButtonValue('trigger', pressed), value)
    await page.waitForTimeout(120)
  }
}

/** Runs in the page. */
function install(image) {
  const { XRDevice, metaQuest3 } = globalThis.IWER
  const supportedFeatures = ['viewer', 'local', 'hit-test', 'anchors', 'dom-overlay', 'camera-access']
  const device = new XRDevice({ ...metaQuest3, supportedFeatures })
  device.installRuntime({ forceInstall: true })
  device.position.set(0, 0, 0)
  device.installSEM(Wall)
  globalThis.device = device

  const picture = new Image()
  picture.src = image
  const size = { width: 0, height: 0 }
  picture.decode().then(() => Object.assign(size, { width: picture.width, height: picture.height }))
  Object.defineProperty(XRView.prototype, 'camera', { get: () => (size.width ? size : null) })
  globalThis.XRWebGLBinding = class {
    constructor(_session, gl) {
      this.gl = gl
    }

    getCameraImage() {
      this.texture ??= textureOf(this.gl, picture)
      return this.texture
    }
  }

  /** As WebXR gives it: the picture's first row is the texture's last. */
  function textureOf(gl, source) {
    const texture = gl.createTexture()
    gl.bindTexture(gl.TEXTURE_2D, texture)
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true)
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, source)
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false)
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR)
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE)
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE)
    gl.bindTexture(gl.TEXTURE_2D, null)
    return texture
  }

  /** The plane z = -2, where a ray from its matrix (origin, and looking along -z) hits it. */
  function Wall() {
    this.environmentCanvas = document.createElement('canvas')
    this.render = () => undefined
    this.computeHitTestResults = (ray) => {
      const far = (-2 - ray[14]) / -ray[10]
      if (!(far > 0)) return []
      return [[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, ray[12] - far * ray[8], ray[13] - far * ray[9], -2, 1]]
    }
  }
}
