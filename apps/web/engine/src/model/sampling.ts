/**
 * Choosing the next token: the likeliest, or by chance among the likely ones (nucleus sampling, arXiv 1904.09751). The same
 * seed gives the same choices as in the libraries for phones.
 */

import { Failure } from '../failure'
import { largest } from './decoding'

export interface Sampling {
  /** 0 takes the likeliest token; the higher, the more even the chances. */
  readonly temperature: number
  /** The smallest set of tokens with at least that probability is chosen from; 1 for all. */
  readonly topP?: number | undefined
  /** A whole number from 0 on; without it each answer draws its own. */
  readonly seed?: number | undefined
}

type Choose = (logits: Float32Array) => number

/** @throws {Failure} `prompt` for values that make no distribution. */
export function checkSampling({ temperature, topP = 1, seed = 0 }: Sampling): void {
  if (!(temperature >= 0 && Number.isFinite(temperature))) {
    throw new Failure('prompt', `The temperature is ${temperature}: give 0, which takes the likeliest, or more.`)
  }
  if (!(topP > 0 && topP <= 1)) throw new Failure('prompt', `topP is ${topP}: give more than 0 and at most 1.`)
  if (!(Number.isSafeInteger(seed) && seed >= 0)) throw new Failure('prompt', `The seed is ${seed}: give a whole number from 0 on.`)
}

/** Chooses the tokens of one answer. */
export function chooser(sampling?: Sampling): Choose {
  if (!sampling || sampling.temperature === 0) return largest
  const { temperature, topP = 1, seed = crypto.getRandomValues(new Uint32Array(1))[0] as number } = sampling
  const random = splitMix(BigInt(seed))
  return (logits) => {
    const { ids, weights } = nucleus(logits, temperature, topP)
    return ids[placeOf(weights, unit(random()))] as number
  }
}

/** The tokens that may follow, the likeliest first and of equals the smaller id, with their weights. */
export function nucleus(logits: Float32Array, temperature: number, topP: number): { ids: Uint32Array; weights: Float64Array } {
  const top = (logits[largest(logits)] as number) / temperature
  const all = Float64Array.from(logits, (logit) => Math.exp(logit / temperature - top))
  const total = all.reduce((sum, weight) => sum + weight, 0)
  const order = likely(all, topP * total).sort((a, b) => (all[b] as number) - (all[a] as number) || a - b)
  let [count, sum] = [0, 0]
  while (count < order.length && (topP === 1 || sum / total < topP)) sum += all[order[count++] as number] as number
  const ids = order.subarray(0, count)
  return { ids, weights: Float64Array.from(ids, (id) => all[id] as number) }
}

/** The ids of the largest weights, as many as are sure to reach `sum`: a whole vocabulary takes long to sort. */
function likely(weights: Float64Array, sum: number): Uint32Array {
  for (let least = 1e-2; least > 1e-9; least /= 100) {
    const kept = weights.reduce((total, weight) => (weight >= least ? total + weight : total), 0)
    if (kept > sum) return Uint32Array.from(weights.keys()).filter((id) => (weights[id] as number) >= least)
  }
  return Uint32Array.from(weights.keys())
}

/** Which weight lies under a part of their sum, when they are laid end to end. */
function placeOf(weights: Float64Array, part: number): number {
  const end = part * weights.reduce((sum, weight) => sum + weight, 0)
  let sum = 0
  const place = weights.findIndex((weight) => (sum += weight) > end)
  return place < 0 ? weights.length - 1 : place
}

/** SplitMix64 (Steele, Lea and Flood, 2014): a small generator that is the same everywhere. */
export function splitMix(seed: bigint): () => bigint {
  let state = seed
  return () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n)
    let z = state
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn)
    return z ^ (z >> 31n)
  }
}

/** 0 up to, but not, 1, in steps of 2^-53. */
function unit(bits: bigint): number {
  return Number(bits >> 11n) * 2 ** -53
}
