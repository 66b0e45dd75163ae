/**
 * npm run measure -- URL [--video scenes.y4m] [--answers 20] [--portrait]
 *
 * Times a running app in headless Chromium: from the opening of the page to the first answer, then the steady loop.
 * Prints JSON. Say what else the machine was doing: the load average before and after is part of the result.
 */

import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'

import { LANDSCAPE, openPage, PORTRAIT, waitForAnswers } from './browser.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { video: { type: 'string' }, answers: { type: 'string', default: '20' }, portrait: { type: 'boolean' } },
})
const [url] = positionals
if (!url) {
  console.error('usage: npm run measure -- URL [--video scenes.y4m] [--answers 20] [--portrait]')
  process.exit(2)
}
const before = loadavg()[0]
const { page, complaints, close } = await openPage({ video: values.video, viewport: values.portrait ? PORTRAIT : LANDSCAPE })
await page.goto(url)
const answers = await waitForAnswers(page, Number(values.answers), 600_000)
const device = await page.evaluate(() => document.querySelector('#facts dt:nth-of-type(3) + dd')?.textContent)
await close()

const gaps = answers.slice(1).map(({ at }, n) => at - answers[n].at)
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]
const round = (value, digits = 0) => Number(value.toFixed(digits))
console.log(
  JSON.stringify(
    {
      url,
      device,
      cores: cpus().length,
      load: [round(before, 1), round(loadavg()[0], 1)],
      answers: answers.length,
      first_answer_ms: round(answers[0].at),
      between_answers_ms: { median: round(median(gaps)), longest: round(Math.max(...gaps)) },
      look_ms: round(median(answers.map(({ look }) => look))),
      first_token_ms: round(median(answers.map(({ firstToken }) => firstToken))),
      tokens_per_second: round(median(answers.map(({ tokensPerSecond }) => tokensPerSecond)), 1),
      tokens_per_answer: round(median(answers.map(({ tokens }) => tokens))),
      wasm_megabytes: round(Math.max(...answers.map(({ memory }) => memory)) / 1e6, 1),
      complaints,
    },
    null,
    2,
  ),
)
