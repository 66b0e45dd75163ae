/** The bundle's golden.safetensors: one picture and one prompt, with what torch computed for the same integers. */

import { Failure } from '../failure'
import type { Pixels } from '../image/resize'
import { readSafetensors, type StoredTensor } from './safetensors'

export interface Golden {
  readonly image: Pixels
  /** [1, 3, S, S] */
  readonly pixelValues: Float32Array
  /** [1, N, hidden] */
  readonly imageFeatures: Float32Array
  readonly inputIds: readonly number[]
  /** [1, vocabulary], of the prompt's last position */
  readonly prefillLogits: Float32Array
  readonly generatedIds: readonly number[]
}

/** @throws {Failure} `damaged` for a file that is not one, or lacks a tensor. */
export function readGolden(buffer: ArrayBuffer): Golden {
  const tensors = readSafetensors(buffer)
  const get = <T extends StoredTensor['data']>(name: string, type: abstract new (...args: never[]) => T) => {
    const stored = tensors.get(name)
    if (!(stored?.data instanceof type)) throw new Failure('damaged', `The bundle's test file has no ${name}.`)
    return { shape: stored.shape, data: stored.data }
  }
  const image = get('image', Uint8Array) // [H, W, 3]
  const [height, width] = image.shape as [number, number]
  return {
    image: { width, height, channels: 3, data: image.data },
    pixelValues: get('pixel_values', Float32Array).data,
    imageFeatures: get('image_features', Float32Array).data,
    inputIds: Array.from(get('input_ids', BigInt64Array).data, Number),
    prefillLogits: get('prefill_logits', Float32Array).data,
    generatedIds: Array.from(get('generated_ids', BigInt64Array).data, Number),
  }
}
