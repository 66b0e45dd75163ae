import { describe, expect, it } from 'vitest'

import { partOf } from '../src/crop'
import { Failure } from '../src/failure'

const picture = { width: 100, height: 50 }

describe('partOf', () => {
  it.each([
    [undefined, { x: 0, y: 0, width: 100, height: 50 }],
    [{ x: 0.5, y: 0.5 }, { x: 40, y: 15, width: 20, height: 20 }],
    [{ x: 0.5, y: 0.5, size: 1 }, { x: 25, y: 0, width: 50, height: 50 }],
    [{ x: 1, y: 0, size: 0.1 }, { x: 95, y: 0, width: 5, height: 5 }],
    [{ x: 50, y: 0, side: 50 }, { x: 50, y: 0, width: 50, height: 50 }],
  ])('of %j', (crop, part) => expect(partOf(picture, crop)).toEqual(part))

  it.each([
    { x: -0.1, y: 0 },
    { x: 0, y: 1.1 },
    { x: Number.NaN, y: 0 },
    { x: 0, y: 0, size: 0.05 },
    { x: 0, y: 0, size: 1.5 },
    { x: 0, y: 0, side: 0 },
    { x: 51, y: 0, side: 50 },
    { x: 0, y: -1, side: 10 },
    { x: 0.5, y: 0, side: 10 },
    { x: 0, y: 0, side: 51 },
  ])('refuses %j', (crop) => {
    expect(() => partOf(picture, crop)).toThrow(Failure)
    expect(() => partOf(picture, crop)).toThrow(/0 to 1|not in the picture/)
  })
})
