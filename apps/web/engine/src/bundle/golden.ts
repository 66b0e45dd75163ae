/** The bundle's own test, golden.safetensors, and the rule of docs/bundle.md that judges what a device computes. */

import { Failure } from '../failure'
import type { Pixels } from '../image/resize'
import type { Manifest } from './manifest'
import { readSafetensors, type StoredTensor } from './safetensors'

const STAGES = ['pixel_values', 'image_features', 'prefill_logits'] as const
const KINDS = ['rms', 'max'] as const
const TITLES: Readonly<Record<string, string>> = {
  pixel_values: 'Picture to pixels',
  image_features: 'Image tokens',
  prefill_logits: 'Logits',
  generated_ids: 'Tokens',
}
const SMALLEST = 1e-12 // what a smaller root mean square counts as

export type Stage = (typeof STAGES)[number]

/** The most that each stage may be off, over the root mean square of what is expected; null is not judged. */
export type Limits = Readonly<Record<Stage, Readonly<Record<(typeof KINDS)[number], number | null>>>> & {
  /** Of how far a recorded token's logit may lie below the largest. */
  readonly tie: number
}

/** What torch computed for the same integers: tiles [T, 3, S, S], image tokens [T, N, hidden], logits [1, vocabulary]. */
export interface Recorded extends Readonly<Record<Stage, Float32Array>> {
  /** Each the likeliest after those before it. */
  readonly generated_ids: readonly number[]
  readonly limits: Limits
}

export interface Golden extends Recorded {
  readonly image: Pixels
  readonly input_ids: readonly number[]
}

export interface Check {
  /** A stage and its limit, such as `image_features.rms`. */
  readonly name: string
  readonly value: number
  readonly limit: number
  readonly passed: boolean
  /** What `value` does not tell. */
  readonly detail: string
}

/** The name of the test with tiles of the size that the manifest is for. */
export function goldenFile({ tiles: { size, sizes } }: Manifest): string {
  return size === sizes[0].size ? 'golden.safetensors' : `golden_${size}.safetensors`
}

/** @throws {Failure} `damaged` for a file that is not one, or lacks a tensor or the limits. */
export function readGolden(buffer: ArrayBuffer): Golden {
  const { tensors, metadata } = readSafetensors(buffer)
  const get = <T extends StoredTensor['data']>(name: string, type: abstract new (...args: never[]) => T) => {
    const stored = tensors.get(name)
    if (!(stored?.data instanceof type)) throw damaged(`no ${name}`)
    return { shape: stored.shape, data: stored.data }
  }
  const image = get('image', Uint8Array) // [H, W, 3]
  const [height, width] = image.shape as [number, number]
  return {
    image: { width, height, channels: 3, data: image.data },
    pixel_values: get('pixel_values', Float32Array).data,
    image_features: get('image_features', Float32Array).data,
    input_ids: Array.from(get('input_ids', BigInt64Array).data, Number),
    prefill_logits: get('prefill_logits', Float32Array).data,
    generated_ids: Array.from(get('generated_ids', BigInt64Array).data, Number),
    limits: parseLimits(metadata.limits),
  }
}

/** @throws {Failure} `damaged` for a text that is not the JSON of {@link Limits}, each field and no other. */
export function parseLimits(text: unknown): Limits {
  let json: unknown
  try {
    json = JSON.parse(String(text))
  } catch {
    throw damaged('no limits')
  }
  const limits = fields(json, [...STAGES, 'tie'])
  for (const stage of STAGES) {
    for (const limit of Object.values(fields(limits[stage], KINDS))) if (limit !== null) checkNumber(limit)
  }
  checkNumber(limits.tie)
  return json as Limits
}

/** The checks of one stage, whose values are compared in order, whatever their shape. */
export function judgeStage(recorded: Recorded, stage: Stage, values: Float32Array): Check[] {
  const errors = differences(values, recorded[stage])
  return KINDS.flatMap((kind) => {
    const limit = recorded.limits[stage][kind]
    return limit === null ? [] : [atMost(`${stage}.${kind}`, errors[kind], limit)]
  })
}

/** How far the recorded tokens are from being the likeliest, judged token by token as the logits come. */
export class TieJudge {
  private worst = 0
  private tokens = 0
  private likeliest = 0

  constructor(private readonly recorded: Recorded) {}

  /** Takes the logits that the next recorded token is chosen from. */
  add(logits: Float32Array): void {
    const { generated_ids: ids, prefill_logits: prefill } = this.recorded
    const token = ids[this.tokens++] as number
    const gap = logits.reduce((most, value) => Math.max(most, value), -Infinity) - logits[token]
    const right = logits.length === prefill.length && logits.every(Number.isFinite)
    if (right && gap === 0) this.likeliest++
    const size = Math.max(Math.min(rms(logits), rms(prefill)), SMALLEST)
    this.worst = Math.max(this.worst, right ? gap / size : Infinity)
  }

  check(): Check {
    const { generated_ids: ids, limits } = this.recorded
    const value = this.tokens === ids.length ? this.worst : Infinity
    return atMost('generated_ids.tie', value, limits.tie, `${this.likeliest} of ${ids.length}`)
  }
}

/** What a check is called on the screen. */
export function titleOf({ name }: Check): string {
  const [stage = '', kind] = name.split('.')
  return `${TITLES[stage] ?? stage}${kind === 'max' ? ', at worst' : ''}`
}

function atMost(name: string, value: number, limit: number, detail = ''): Check {
  return { name, value, limit, passed: value <= limit, detail }
}

/** Root mean square and largest difference over the root mean square of `expected`. */
function differences(values: Float32Array, expected: Float32Array): { rms: number; max: number } {
  if (values.length !== expected.length || !values.every(Number.isFinite)) return { rms: Infinity, max: Infinity }
  const size = Math.max(rms(expected), SMALLEST)
  const off = Float64Array.from(values, (value, n) => Math.abs(value - expected[n]))
  return { rms: rms(off) / size, max: off.reduce((most, value) => Math.max(most, value), 0) / size }
}

function rms(values: Float32Array | Float64Array): number {
  let sum = 0
  for (const value of values) sum += value * value
  return Math.sqrt(sum / values.length)
}

/** The fields of an object that has these and no others. */
function fields<K extends string>(json: unknown, keys: readonly K[]): Record<K, unknown> {
  const present = typeof json === 'object' && json !== null && !Array.isArray(json) ? Object.keys(json) : []
  if (present.sort().join() !== [...keys].sort().join()) throw damaged('other limits than this app knows')
  return json as Record<K, unknown>
}

function checkNumber(value: unknown): void {
  if (typeof value !== 'number') throw damaged('a limit that is no number')
}

function damaged(reason: string): Failure {
  return new Failure('damaged', `The bundle's test file has ${reason}. Export the bundle again.`)
}
