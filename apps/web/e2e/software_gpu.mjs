/** The app on WebGPU without a GPU. */

import { stillFrame } from './asking.mjs'
import { openPage } from './browser.mjs'

/**
 * WebGPU on a software adapter, the only one that a machine without a GPU has. Its subgroups are of four lanes, for which
 * the runtime's attention computes wrongly; with `subgroups` hidden from the worker another kernel is taken.
 */
export async function webgpu({ url, video, subgroups }) {
  const args = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan']
  const { page, context, complaints, close } = await openPage({ video, args, stores: false })
  if (!subgroups) {
    await context.route(/assets\/worker-[^/]*\.js$/, async (route) => {
      const response = await route.fetch()
      await route.fulfill({ response, body: `(${hideSubgroups})();${await response.text()}` })
    })
  }
  await page.goto(url)
  const features = await page.evaluate(async () => [...((await navigator.gpu?.requestAdapter())?.features ?? [])])
  if (!features.includes('subgroups')) {
    await close()
    return { adapter: features.length > 0 }
  }
  await page.waitForFunction(() => globalThis.answers.length > 0 || !document.querySelector('#notice').hidden, null, { timeout: 240_000 })
  const seen = { adapter: true, notice: await page.evaluate(() => document.querySelector('#notice-text').textContent) }
  if (!seen.notice) {
    await page.click('#pause')
    const before = await page.evaluate(() => globalThis.answers.length)
    await page.keyboard.press('3')
    await page.waitForFunction((count) => globalThis.answers.length > count, before, { timeout: 120_000 })
    seen.answer = await page.evaluate(() => globalThis.answers.at(-1))
    seen.frame = await stillFrame(page)
    seen.hint = await page.textContent('#hint')
    seen.device = await page.$$eval('#facts dd', (cells) => cells[2].textContent)
  }
  await close()
  return { ...seen, complaints }
}

/** Runs in the worker. */
function hideSubgroups() {
  const { get } = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'features')
  const without = (all) => new Set([...all].filter((feature) => !feature.startsWith('subgroup')))
  Object.defineProperty(GPUAdapter.prototype, 'features', {
    get() {
      return without(get.call(this))
    },
  })
}
