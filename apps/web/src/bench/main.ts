/** The page of `phantom-edge bench --device browser`: starts the worker that measures, and shows what it does. */

import { matching, text, translate, useLanguage, LANGUAGES } from '../i18n/text'
import { write } from '../ui/dom'
import type { Report } from './bench_worker'

const worker = new Worker(new URL('./bench_worker.ts', import.meta.url), { type: 'module', name: 'bench' })

worker.onmessage = ({ data }: MessageEvent<Report>) => {
  text('step', 'step' in data ? data.step : 'error' in data ? data.error : 'Done. This page may be closed.')
}
worker.onerror = ({ message }) => {
  const error = `the page's worker failed: ${message || 'out of memory or a script that did not load'}`
  text('step', error)
  void fetch('report', { method: 'POST', body: JSON.stringify({ error }) })
}
worker.postMessage(location.href)
