/** The page in each language and in light and dark: what it says, whether it can be read, and what a user may choose. */

import { openPage, PORTRAIT, LANDSCAPE, waitForAnswers, waitForNotice } from './browser.mjs'
import { auditAccessibility, lowContrast, measureLayout } from './page.mjs'

const SIZES = { portrait: PORTRAIT, small: { width: 320, height: 568 }, tablet: { width: 820, height: 1180 }, landscape: LANDSCAPE }

/** Every text, label and placeholder of the page, but the model's own words and what is marked as of another language. */
function saidOn(page) {
  return page.evaluate(() => {
    const NOT_OURS = '.label .answer, #presets .answer, [data-fact="info.model"], [data-fact="info.recipe"], #checks td:nth-child(-n+2), script, style, noscript, code, #title, #language'
    const foreign = (node) => {
      const at = node.closest('[lang]')
      return at !== null && at !== document.documentElement
    }
    const said = [document.querySelector('meta[name=description]').content]
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT)
    while (walker.nextNode()) {
      const node = walker.currentNode
      const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node
      if (element.closest(NOT_OURS) || foreign(element)) continue
      if (node.nodeType === Node.TEXT_NODE) said.push(node.textContent)
      else said.push(...['aria-label', 'placeholder', 'alt', 'aria-valuetext'].map((name) => node.getAttribute(name) ?? ''))
    }
    return [...new Set(said.map((words) => words.trim()).filter((words) => /\p{L}/u.test(words)))]
  })
}

/** One language and one scheme: every size of window, the dialogs, a notice of the engine's and one of the camera's. */
export async function speaking({ url, video, language, scheme, folder }) {
  const { page, complaints, close } = await openPage({ video, viewport: PORTRAIT })
  await page.emulateMedia({ colorScheme: scheme })
  const heard = []
  await page.exposeFunction('heard', (words) => heard.push(words))
  await page.addInitScript(() => {
    document.addEventListener('DOMContentLoaded', () => {
      const spoken = document.querySelector('#spoken')
      new MutationObserver(() => globalThis.heard(spoken.textContent)).observe(spoken, { childList: true, characterData: true, subtree: true })
    })
  })
  await page.goto(`${url}?engine=fake&lang=${language}`)
  await waitForAnswers(page, 1)
  const seen = { lang: await page.evaluate(() => document.documentElement.lang), states: [], said: await saidOn(page) }
  const look = async (name, inWindow = false) => {
    const state = { name, contrast: await lowContrast(page), axe: await auditAccessibility(page) }
    if (inWindow) state.layout = await measureLayout(page)
    if (folder) await page.screenshot({ path: `${folder}/${language}-${scheme}-${name}.png` })
    seen.states.push(state)
    seen.said.push(...(await saidOn(page)))
  }
  for (const [name, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport)
    await page.waitForTimeout(150)
    await look(name, true)
  }
  await page.setViewportSize(PORTRAIT)
  const height = () => page.$eval('#panel', (panel) => panel.offsetHeight)
  const before = await height()
  await page.click('#pause')
  seen.grows = (await height()) - before
  await page.click('#pin', { force: true })
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('+')
  await page.click('#adjust')
  await look('settings')
  await page.click('#settings-close')
  await page.click('#about')
  await page.click('#test')
  await page.waitForSelector('#checks tbody tr')
  await look('about')
  await page.click('#info-close')
  seen.ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  await close()
  return { ...seen, heard, complaints }
}

/** What a user chooses in the settings holds at once and the next time, until it is reset; an odd `?lang=` is explained. */
export async function adjusting({ url, video, odd, brokenUrl, folder }) {
  const { page, complaints, close } = await openPage({ video, viewport: PORTRAIT })
  await page.emulateMedia({ colorScheme: 'light' })
  const state = () =>
    page.evaluate(() => ({
      lang: document.documentElement.lang,
      ask: document.querySelector('#send').textContent,
      pill: document.querySelector('#pill-text').textContent,
      preset: document.querySelector('#presets .question').textContent,
      ground: getComputedStyle(document.body).backgroundColor,
      bars: [...document.querySelectorAll('meta[name=theme-color]')].map(({ content }) => content),
      settings: ['language', 'scheme', 'detail', 'longest', 'prefix'].map((id) => document.getElementById(id).value),
      digits: document.querySelector('#digits').checked,
      address: location.search,
    }))
  const prompts = () => page.evaluate(() => globalThis.answers.slice(-1)[0].text)
  const next = async () => waitForAnswers(page, (await page.evaluate(() => globalThis.answers.length)) + 2)
  const open = async (address) => {
    await page.goto(address)
    await waitForAnswers(page, 1)
  }
  const seen = {}
  await open(`${url}?engine=fake`)
  seen.before = await state()
  await page.click('#adjust')
  await page.selectOption('#language', 'de')
  await page.selectOption('#scheme', 'dark')
  await page.selectOption('#detail', '224')
  await page.selectOption('#longest', '128')
  await page.uncheck('#digits')
  await page.fill('#prefix', ' One word. ')
  await page.click('#settings-close')
  await next()
  seen.chosen = await state()
  seen.prompt = await prompts()
  seen.tile = await page.evaluate(() => globalThis.answers.slice(-1)[0].tile)
  await open(`${url}?engine=fake`)
  await next()
  seen.again = await state()
  await open(`${url}?engine=fake&lang=fr`)
  seen.address = await state()
  await page.click('#adjust')
  await page.selectOption('#language', 'en')
  seen.overruled = await state()
  await page.click('#reset')
  await page.click('#settings-close')
  await next()
  seen.reset = await state()
  seen.resetPrompt = await prompts()
  seen.spoken = await page.textContent('#spoken')
  await open(`${url}?engine=fake&lang=${odd}`)
  seen.odd = await page.$$eval('.missing-language', (lines) => lines.map((line) => (line.hidden ? '' : line.textContent)))
  seen.oddAxe = await auditAccessibility(page)
  if (folder) await page.screenshot({ path: `${folder}/odd-language.png` })
  await page.goto(`${brokenUrl}?lang=de`)
  seen.broken = await waitForNotice(page)
  seen.detail = await page.$eval('#notice-message', (line) => ({ text: line.textContent, lang: line.lang }))
  await page.click('#notice-detail summary')
  seen.brokenAxe = await auditAccessibility(page)
  if (folder) await page.screenshot({ path: `${folder}/broken-de.png` })
  await close()
  return { ...seen, complaints }
}
