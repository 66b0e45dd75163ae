/** A page on the engine's package, for test_web_package.py: it loads, asks in every way, and leaves what came of it. */

import { capture, cropAround, load } from 'phantom-edge-web'

const { question, crops, choices, regex, text, options } = await (await fetch('./job.json')).json()

async function failure(run) {
  try {
    return `no failure: ${JSON.stringify(await run())}`
  } catch ({ name, code, message }) {
    return { name, code, message }
  }
}

/** The same picture in everything that the package takes. */
async function pictures(file) {
  const bitmap = await createImageBitmap(file)
  const canvas = Object.assign(document.createElement('canvas'), { width: bitmap.width, height: bitmap.height })
  canvas.getContext('2d').drawImage(bitmap, 0, 0)
  const offscreen = new OffscreenCanvas(bitmap.width, bitmap.height)
  offscreen.getContext('2d').drawImage(bitmap, 0, 0)
  const image = Object.assign(new Image(), { src: './picture.png' })
  const data = canvas.getContext('2d').getImageData(0, 0, bitmap.width, bitmap.height)
  const frame = new VideoFrame(data.data, { format: 'RGBX', codedWidth: bitmap.width, codedHeight: bitmap.height, timestamp: 0 })
  const address = new URL('./picture.png', location.href)
  return { file, bitmap, canvas, offscreen, image, data, frame, address, text: './picture.png', captured: await capture(file) }
}

async function digest({ rgba }) {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', rgba))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

async function streamed(model, picture) {
  const stream = model.stream(picture, text)
  const pieces = []
  let next = await stream.next()
  for (; !next.done; next = await stream.next()) pieces.push(next.value)
  return { pieces, answer: next.value }
}

const store = await caches.open('phantom-edge-bundle')
for (const path of ['./elsewhere/weights', './bundle/earlier']) await store.put(path, new Response('stored before'))
const progress = []
const model = await load('./bundle', { ...options, onProgress: (step) => progress.push(step) })
const file = await (await fetch('./picture.png')).blob()
const kinds = await pictures(file)
const digests = {}
for (const [kind, picture] of Object.entries(kinds)) digests[kind] = await digest(await capture(picture))

const frame = kinds.captured
const whole = await model.ask(frame, question)
const again = await model.ask(frame, question, { choices })
const cropped = []
for (const crop of crops) cropped.push(await model.ask(file, question, { crop }))
const [x, y] = [0.5, 0.5]
const square = cropAround(frame, { x, y }, 0.4)
const alike = await Promise.all([capture(file, { x, y }).then(digest), capture(frame, square).then(digest)])

const abort = new AbortController()
const cancelled = await model.ask(file, text, { signal: abort.signal, onText: () => abort.abort() })
const drawn = { sampling: { temperature: 100, seed: 7 }, maxTokens: 8 }
const chat = await model.chat(file)
const results = {
  talk: [await chat.ask(question), await chat.ask(text)],
  turns: chat.turns,
  stored: (await store.keys()).map(({ url }) => url.slice(new URL('./', location.href).href.length)),
  isolated: crossOriginIsolated,
  info: model.info,
  first: progress[0],
  last: progress.at(-1),
  digests,
  whole,
  again,
  cropped,
  alike,
  ranked: again.likelihoods,
  matched: await model.ask(file, question, { regex }),
  streamed: await streamed(model, file),
  cancelled,
  drawn: [await model.ask(frame, text, drawn), await model.ask(frame, text, drawn)].map(({ text }) => text),
  passed: await model.selfTest(),
  failures: {
    crop: await failure(() => model.ask(file, question, { crop: { x: 2, y: 0 } })),
    square: await failure(() => model.ask(file, question, { crop: { x: 0, y: 0, side: 10_000 } })),
    picture: await failure(() => model.ask(new Blob(['no picture']), question)),
    nothing: await failure(() => model.ask(undefined, question)),
    elsewhere: await failure(() => model.ask('https://example.com/picture.png', question)),
    missing: await failure(() => model.ask('./missing.png', question)),
    video: await failure(() => model.ask(document.createElement('video'), question)),
    empty: await failure(() => model.ask(file, ' ')),
    regex: await failure(() => model.ask(file, question, { regex: '(?=a)' })),
    bundle: await failure(() => load('./nowhere/', options)),
    assets: await failure(() => load('./bundle/', { ...options, assets: './nowhere/' })),
    device: await failure(() => load('./bundle/', { ...options, device: 'webgpu' })),
    loading: await failure(() => load('./bundle/', { ...options, signal: AbortSignal.abort() })),
  },
}
model.close()
results.failures.closed = await failure(() => model.ask(file, question))
globalThis.results = results
