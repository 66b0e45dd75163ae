import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'

import { pixelValues, resize } from '../src/image/resize'
import pillow from './fixtures/pillow.json'

describe('resize', () => {
  it.each(pillow.cases)('gives what Pillow gives, $from to $to', ({ from, to, image, resized }) => {
    const [width, height] = from as [number, number]
    const done = resize({ width, height, channels: 3, data: Uint8Array.from(image) }, to[0]!, to[1]!)
    expect(Array.from(done.data)).toEqual(resized)
  })

  it('drops the fourth channel', () => {
    const { from, to, image, resized } = pillow.cases[0]!
    const rgba = Uint8Array.from({ length: from[0]! * from[1]! * 4 }, (_, n) =>
      n % 4 === 3 ? 77 : image[Math.floor(n / 4) * 3 + (n % 4)]!,
    )
    const done = resize({ width: from[0]!, height: from[1]!, channels: 4, data: rgba }, to[0]!, to[1]!)
    expect(Array.from(done.data)).toEqual(resized)
  })

  it('keeps an even colour even, whatever the scale', () => {
    const data = new Uint8Array(31 * 17 * 3).fill(200)
    for (const side of [1, 5, 64]) {
      expect(new Set(resize({ width: 31, height: 17, channels: 3, data }, side, side).data)).toEqual(new Set([200]))
    }
  })

  it('antialiases: a fine chequerboard shrinks to grey, which a plain bicubic would not give', () => {
    const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, n) => {
      const pixel = Math.floor(n / 3)
      return ((pixel % 64) + Math.floor(pixel / 64)) % 2 ? 255 : 0
    })
    const { data: small } = resize({ width: 64, height: 64, channels: 3, data }, 8, 8)
    for (const value of small) expect(Math.abs(value - 127.5)).toBeLessThan(3)
  })
})

describe('pixelValues', () => {
  it('gives planes of 0..1', () => {
    const data = Uint8Array.from([255, 0, 51, 255, 0, 51, 255, 0, 51, 255, 0, 51])
    const values = pixelValues({ width: 2, height: 2, channels: 3, data }, 2)
    expect(Array.from(values)).toEqual([1, 1, 1, 1, 0, 0, 0, 0, ...Array(4).fill(Math.fround(0.2))])
  })
})

/** Written by tests/apps_web: pictures of odd sizes with phantom_edge.images.pixel_values of each. */
const cases = process.env.PIXEL_CASES
describe.skipIf(!cases || !existsSync(cases))('pixelValues and Python', () => {
  const list: { width: number; height: number; side: number; image: string; pixels: string }[] = cases
    ? JSON.parse(readFileSync(join(cases, 'cases.json'), 'utf8'))
    : []

  it.each(list)('differ by less than two steps in 255: $width x $height', ({ width, height, side, image, pixels }) => {
    const data = new Uint8Array(readFileSync(join(cases!, image)))
    const bytes = readFileSync(join(cases!, pixels))
    const expected = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
    const values = pixelValues({ width, height, channels: 3, data }, side)
    expect(values.length).toBe(expected.length)
    let worst = 0
    for (let n = 0; n < values.length; n++) worst = Math.max(worst, Math.abs(values[n]! - expected[n]!))
    expect(worst).toBeLessThanOrEqual(2 / 255)
    expect(worst).toBe(0) // the arithmetic is Pillow's own: anything else is a change that should be looked at
  })
})
