/** The pin: what a tap, the slider, the keys and two fingers change of what the model sees, and so of what it answers. */

import { LANDSCAPE, openPage, PORTRAIT, waitForAnswers } from './browser.mjs'
import { auditAccessibility, lowContrast } from './page.mjs'

/**
 * One question about a picture: all of it, around each of `points` (parts of its width and height, tapped on), around the
 * first again by keys alone, and all of it again. `file` takes a picture of the page at the first point.
 */
export async function point({ url, picture, question, points, portrait, file }) {
  const { page, complaints, close } = await openPage({ camera: 'none', viewport: portrait ? PORTRAIT : LANDSCAPE })
  await page.goto(url)
  await page.setInputFiles('#file', picture)
  await waitForAnswers(page, 1)
  const seen = { whole: await next(page, () => page.getByRole('button', { name: question }).click()), tapped: [] }
  for (const [n, at] of points.entries()) {
    seen.tapped.push(await next(page, async () => page.mouse.click(...(await onPicture(page, at)))))
    if (n === 0 && file) await page.screenshot({ path: file })
  }
  seen.said = await page.textContent('#spoken')
  seen.axe = await auditAccessibility(page)
  seen.contrast = await lowContrast(page)
  seen.again = await next(page, () => page.click('#whole'))
  seen.keys = await byKeys(page, points[0])
  await close()
  return { ...seen, complaints }
}

/** Walks the pin to a point of the picture with the arrow keys, which move it by less the smaller the square is. */
async function byKeys(page, [x, y]) {
  await page.focus('#pin')
  for (let n = 0; n < 4; n++) await page.keyboard.press('-')
  const target = await onPicture(page, [x, y])
  const centre = () => page.$eval('#pin', (pin) => {
    const { left, top, width, height } = pin.getBoundingClientRect()
    return [left + width / 2, top + height / 2]
  })
  const step = (await page.$eval('#finder', (finder) => finder.getBoundingClientRect().width)) * 0.15
  return next(page, async () => {
    for (const [axis, back, forth] of [[0, 'ArrowLeft', 'ArrowRight'], [1, 'ArrowUp', 'ArrowDown']]) {
      for (let n = 0; n < 60; n++) {
        const away = target[axis] - (await centre())[axis]
        if (Math.abs(away) <= step * 0.6) break
        await page.keyboard.press(away < 0 ? back : forth)
      }
    }
    for (let n = 0; n < 4; n++) await page.keyboard.press('+')
  })
}

/** The slider and two fingers make the square larger and smaller, and both say so; on a stand-in for the model. */
export async function sizes({ url, picture }) {
  const { page, context, complaints, close } = await openPage({ camera: 'none' })
  await page.goto(`${url}?engine=fake`)
  await page.setInputFiles('#file', picture)
  await waitForAnswers(page, 1)
  const state = () =>
    page.evaluate(() => ({
      side: Number(document.querySelector('#stage').dataset.square.split(',')[2]),
      finder: Math.round(document.querySelector('#finder').getBoundingClientRect().width),
      text: document.querySelector('#part-text').textContent,
      words: document.querySelector('#part').getAttribute('aria-valuetext'),
      whole: document.querySelector('#whole').getAttribute('aria-pressed'),
      answer: globalThis.answers.at(-1).text,
    }))
  const seen = { whole: await state() }
  const [x, y] = await onPicture(page, [0.5, 0.5])
  seen.tapped = (await next(page, () => page.mouse.click(x, y)), await state())
  await page.focus('#part')
  seen.slider = (await next(page, () => page.keyboard.press('ArrowRight')), await state())
  seen.least = (await next(page, () => page.keyboard.press('Home')), await state())
  const session = await context.newCDPSession(page)
  const touch = (type, apart) =>
    session.send('Input.dispatchTouchEvent', {
      type,
      touchPoints: apart === null ? [] : [-1, 1].map((side, id) => ({ x: x + side * apart, y, id })),
    })
  seen.pinched = (await next(page, async () => {
    await touch('touchStart', 30)
    for (const apart of [45, 60, 75, 90]) await touch('touchMove', apart)
    await touch('touchEnd', null)
  }), await state())
  seen.wheel = (await next(page, async () => {
    await page.mouse.move(x, y)
    await page.keyboard.down('Control')
    await page.mouse.wheel(0, 200)
    await page.keyboard.up('Control')
  }), await state())
  await close()
  return { ...seen, complaints }
}

/** Does something and waits for the next answer, with what the model saw. */
async function next(page, act) {
  const before = await page.evaluate(() => globalThis.answers.length)
  await act()
  await page.waitForFunction(
    (count) => globalThis.answers.length > count && document.querySelector('#stage').dataset.state === 'paused',
    before,
    { timeout: 60_000 },
  )
  return page.evaluate(() => {
    const box = (selector) => document.querySelector(selector).getBoundingClientRect().toJSON()
    const { text, question } = globalThis.answers.at(-1)
    const square = document.querySelector('#stage').dataset.square.split(',').map(Number)
    return { text, question, square, finder: box('#finder'), label: box('.label'), pin: box('#pin'), stage: box('#stage') }
  })
}

/** A point given in parts of the still picture, in pixels of the window. */
function onPicture(page, [x, y]) {
  return page.evaluate(
    ([x, y]) => {
      const still = document.querySelector('#still')
      const { left, top, width, height } = document.querySelector('#stage').getBoundingClientRect()
      const scale = Math.min(width / still.width, height / still.height) // as object-fit: contain
      return [left + width / 2 + (x - 0.5) * still.width * scale, top + height / 2 + (y - 0.5) * still.height * scale]
    },
    [x, y],
  )
}
