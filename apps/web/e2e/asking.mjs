/** Asking as a user does, and the pixels that the questions are about. */

/** Asks every preset about the picture and waits for the answers. */
export async function askAll(page) {
  const before = await page.evaluate(() => globalThis.answers.length)
  await page.click('#all')
  const presets = await page.$$eval('#presets .question', (cards) => cards.map((card) => card.textContent))
  await page.waitForFunction(
    ({ before, presets }) => {
      const last = globalThis.answers.slice(before).slice(-presets.length)
      return JSON.stringify(last.map(({ question }) => question)) === JSON.stringify(presets)
    },
    { before, presets },
    { timeout: 120_000 },
  )
  return page.evaluate((count) => globalThis.answers.slice(-count), presets.length)
}

/** The pixels of the stopped picture's square, as base64 of RGBA. */
export function stillFrame(page) {
  return page.evaluate(() => {
    const [x, y, side] = document.querySelector('#stage').dataset.square.split(',').map(Number)
    const canvas = document.querySelector('#still')
    const copy = new OffscreenCanvas(side, side).getContext('2d', { willReadFrequently: true })
    copy.drawImage(canvas, -x, -y)
    const { data } = copy.getImageData(0, 0, side, side)
    let text = ''
    for (let n = 0; n < data.length; n += 0x8000) text += String.fromCharCode(...data.subarray(n, n + 0x8000))
    return { side, rgba: btoa(text), still: !canvas.hidden }
  })
}

/** A point given in parts of the camera's picture, in pixels of the window. */
export function pointOnStage(page, [x, y]) {
  return page.evaluate(
    ([x, y]) => {
      const { videoWidth, videoHeight } = document.querySelector('#video')
      const { left, top, width, height } = document.querySelector('#stage').getBoundingClientRect()
      const scale = Math.max(width / videoWidth, height / videoHeight) // as object-fit: cover
      return [left + width / 2 + (x - 0.5) * videoWidth * scale, top + height / 2 + (y - 0.5) * videoHeight * scale]
    },
    [x, y],
  )
}
