/** The packed types, as a strict project sees them: compiled by test_web_package.py, never run. */

import { type Answer, capture, type Chat, Failure, type FailureCode, type Frame, load, type LoadOptions } from 'phantom-edge-web'
import type { Model, Sampling } from 'phantom-edge-web'
import { checkChoices, type Form } from 'phantom-edge-web/checks'

const options: LoadOptions = { device: 'wasm', threads: 2, onProgress: ({ loaded, total }) => void (loaded / total) }
const model: Model = await load(new URL('https://localhost/bundle/'), options)
const frame: Frame = await capture(document.createElement('video'), { x: 0.5, y: 0.5 })
const sampling: Partial<Sampling> = { temperature: 0.7 }
const answer: Answer = await model.ask(frame, 'What is this?', { sampling, onText: (text: string) => void text })
for await (const piece of model.stream('./picture.png', 'Why?', { crop: { x: 0, y: 0, side: 10 } })) piece.toUpperCase()
const form: Form = { choices: ['red'] }
checkChoices(form.choices)
const likeliest: number | undefined = answer.likelihoods?.[0]?.probability
const code: FailureCode = new Failure('picture', 'No.').code
const chat: Chat = await model.chat(frame)
const next: string = (await chat.ask('And now?', { maxTokens: 8 })).text
const passed: boolean = await model.selfTest()
const own: Failure<FailureCode | 'no-card'> = new Failure('no-card', 'Put one in.')
export { code, likeliest, next, own, passed }

// @ts-expect-error: a device that there is not
await load('./bundle/', { device: 'npu' })
// @ts-expect-error: a number is no picture
await model.ask(1, 'Why?')
// @ts-expect-error: a crop needs its place
await model.ask(frame, 'Why?', { crop: { size: 0.5 } })
// @ts-expect-error: answers are read only
answer.text = ''
// @ts-expect-error: a camera is the page's own, not the engine's
export const camera: FailureCode = 'camera-missing'
// @ts-expect-error: not part of the package's interface
import 'phantom-edge-web/measuring'
