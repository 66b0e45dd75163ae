/** The page of `phantom-edge bench --device browser`: starts the worker that measures, and shows what it does. */

import { speak } from '../i18n/speak'
import { LANGUAGES } from '../i18n/text'
import { readPreferences } from '../preferences'
import { say, write } from '../ui/dom'
import type { Report } from './bench_worker'

speak({ languages: LANGUAGES, strings: {} }, readPreferences().language)
const worker = new Worker(new URL('./bench_worker.ts', import.meta.url), { type: 'module', name: 'bench' })

worker.onmessage = ({ data }: MessageEvent<Report>) => {
  if ('key' in data) say('step', data.key, data.values)
  else if ('error' in data) fail(data.error)
  else say('step', 'bench.done')
}
worker.onerror = ({ message }) => {
  const error = `the page's worker failed: ${message || 'out of memory or a script that did not load'}`
  fail(error)
  void fetch('report', { method: 'POST', body: JSON.stringify({ error }) })
}
worker.postMessage(location.href)

/** What failed stands in English, as in the terminal. */
function fail(error: string): void {
  say('step', 'bench.failed')
  write('error', error)
}
