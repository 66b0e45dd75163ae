/** Reading a .safetensors file: eight bytes of length, a JSON header, then the tensors' bytes. */

import { Failure } from '../failure'

const MAX_HEADER_BYTES = 1 << 20
const TYPES = {
  F32: Float32Array,
  I64: BigInt64Array,
  I32: Int32Array,
  U8: Uint8Array,
} as const

export interface StoredTensor {
  readonly shape: readonly number[]
  readonly data: Float32Array | BigInt64Array | Int32Array | Uint8Array
}

/**
 * Tensors by name, copied out of `buffer`, and the header's metadata.
 *
 * @throws {Failure} `damaged` for a file that is cut short, overlong, or holds a type this app has no use for.
 */
export function readSafetensors(buffer: ArrayBuffer): {
  tensors: Map<string, StoredTensor>
  metadata: Readonly<Record<string, unknown>>
} {
  const { header, start } = readHeader(buffer)
  const tensors = new Map<string, StoredTensor>()
  for (const [name, entry] of Object.entries(header)) {
    if (name !== '__metadata__') tensors.set(name, readTensor(buffer, start, name, entry))
  }
  return { tensors, metadata: (header.__metadata__ ?? {}) as Record<string, unknown> }
}

function readHeader(buffer: ArrayBuffer): { header: Record<string, unknown>; start: number } {
  if (buffer.byteLength < 8) throw damaged('it is cut short')
  const length = Number(new DataView(buffer).getBigUint64(0, true))
  if (length > MAX_HEADER_BYTES || 8 + length > buffer.byteLength) throw damaged('its header is cut short')
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array(buffer, 8, length)))
  } catch {
    throw damaged('its header is not JSON')
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) throw damaged('its header is no object')
  return { header: header as Record<string, unknown>, start: 8 + length }
}

function readTensor(buffer: ArrayBuffer, start: number, name: string, entry: unknown): StoredTensor {
  const { dtype, shape, data_offsets: offsets } = entry as { dtype: string; shape: number[]; data_offsets: number[] }
  const type = TYPES[dtype as keyof typeof TYPES]
  const whole = (values: unknown): values is number[] =>
    Array.isArray(values) && values.every((value) => Number.isSafeInteger(value) && value >= 0)
  if (type === undefined || !whole(shape) || !whole(offsets) || offsets.length !== 2) {
    throw damaged(`the entry of ${name} is not one this app reads`)
  }
  const [begin, end] = offsets as [number, number]
  const bytes = shape.reduce((product, size) => product * size, 1) * type.BYTES_PER_ELEMENT
  if (end - begin !== bytes || start + end > buffer.byteLength) throw damaged(`${name} is cut short`)
  // A slice, because a view needs its offset to be a multiple of the element size, which the format does not promise.
  return { shape, data: new type(buffer.slice(start + begin, start + end)) }
}

function damaged(reason: string): Failure {
  return new Failure('damaged', `The bundle's test file is damaged: ${reason}. Export the bundle again.`)
}
