import { describe, expect, it } from 'vitest'

import { readSafetensors } from '../src/bundle/safetensors'

/** A file as the format's specification describes it. */
function file(header: object, data: number[]): ArrayBuffer {
  const json = new TextEncoder().encode(JSON.stringify(header))
  const bytes = new Uint8Array(8 + json.length + data.length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true)
  bytes.set(json, 8)
  bytes.set(data, 8 + json.length)
  return bytes.buffer
}

const entry = (dtype: string, shape: number[], begin: number, end: number) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
})

describe('readSafetensors', () => {
  it('reads each type, aligned or not', () => {
    const header = {
      __metadata__: { made: 'here' },
      bytes: entry('U8', [3], 0, 3),
      numbers: entry('F32', [1, 2], 3, 11),
      ids: entry('I64', [1], 11, 19),
    }
    const { tensors, metadata } = readSafetensors(file(header, [1, 2, 3, 0, 0, 128, 63, 0, 0, 0, 192, 255, 255, 255, 255, 255, 255, 255, 255]))
    expect([...tensors.keys()]).toEqual(['bytes', 'numbers', 'ids'])
    expect(metadata).toEqual({ made: 'here' })
    expect(tensors.get('bytes')?.data).toEqual(Uint8Array.of(1, 2, 3))
    expect(tensors.get('numbers')).toEqual({ shape: [1, 2], data: Float32Array.of(1, -2) })
    expect(tensors.get('ids')?.data).toEqual(BigInt64Array.of(-1n))
  })

  it.each([
    ['too short for a length', new ArrayBuffer(4)],
    ['a header beyond the end', file({}, []).slice(0, 9)],
    ['no JSON', new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0, 40]).buffer],
    ['a tensor beyond the end', file({ x: entry('U8', [9], 0, 9) }, [1])],
    ['a shape that does not fit', file({ x: entry('F32', [2], 0, 4) }, [0, 0, 0, 0])],
    ['a negative offset', file({ x: entry('U8', [1], -1, 0) }, [0])],
    ['an unknown type', file({ x: entry('F8', [1], 0, 1) }, [0])],
  ])('refuses %s', (_, buffer) => {
    expect(() => readSafetensors(buffer)).toThrow(/damaged/)
  })
})
