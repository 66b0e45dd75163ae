import { readFileSync } from 'node:fs'

import { cropAround, type Square } from 'phantom-edge-web'
import { describe, expect, it } from 'vitest'

import { Aim } from '../src/source/aim'
import { View } from '../src/source/view'

const video = { width: 1280, height: 720 }

describe('View', () => {
  it('covers a portrait stage with a landscape video and takes the square that shows', () => {
    const view = new View({ width: 400, height: 600 }, video, 'cover') // scale 600/720: 480 of 1280 pixels show
    const square = view.largestSquare({ x: 640, y: 360 })
    expect(square).toEqual({ x: 400, y: 120, side: 480 })
    const shown = view.squareOnStage(square)
    expect(shown.x).toBeCloseTo(0)
    expect(shown.y).toBeCloseTo(100)
    expect(shown.side).toBeCloseTo(400)
  })

  it('moves the square with the point and stops at the edge', () => {
    const view = new View({ width: 1000, height: 500 }, video, 'cover')
    const left = view.largestSquare(view.toSource({ x: 0, y: 250 }))
    const right = view.largestSquare(view.toSource({ x: 999, y: 250 }))
    expect(left.x).toBe(0)
    expect(right.x + right.side).toBe(1280)
    expect(left.side).toBe(640)
  })

  it('shows the whole picture if it is to, and points beside it are on its edge', () => {
    const view = new View({ width: 400, height: 600 }, { width: 200, height: 100 }, 'contain')
    expect(view.largestSquare({ x: 100, y: 50 })).toEqual({ x: 50, y: 0, side: 100 })
    expect(view.toSource({ x: 200, y: 0 })).toEqual({ x: 100, y: 0 })
  })

  it.each([
    [333, 777, 641, 359],
    [1917, 1079, 1281, 719],
    [50, 51, 3, 2],
  ])('takes whole pixels inside the picture: stage %i x %i, picture %i x %i', (stageWidth, stageHeight, width, height) => {
    for (const fit of ['cover', 'contain'] as const) {
      const view = new View({ width: stageWidth, height: stageHeight }, { width, height }, fit)
      for (const x of [0, 0.5, 1]) {
        const square = view.largestSquare(view.toSource({ x: x * stageWidth, y: x * stageHeight }))
        expect(Number.isInteger(square.x) && Number.isInteger(square.y) && square.side >= 1).toBe(true)
        expect(square.x + square.side).toBeLessThanOrEqual(width)
        expect(square.y + square.side).toBeLessThanOrEqual(height)
      }
    }
  })

  it('brings a point of the stage there and back', () => {
    const view = new View({ width: 390, height: 560 }, video, 'cover')
    const back = view.toStage(view.toSource({ x: 123, y: 456 }))
    expect(back.x).toBeCloseTo(123)
    expect(back.y).toBeCloseTo(456)
  })
})

interface Case {
  readonly picture: readonly [width: number, height: number]
  readonly point: readonly [x: number, y: number]
  readonly size: number
  readonly crop: readonly [left: number, top: number, side: number]
}

/** tests/support/crop_vectors.json: the square around a point, as every language must cut it. */
const path = process.env.CROP_CASES
describe.skipIf(!path)('The crop around a point', () => {
  const { cases } = (path ? JSON.parse(readFileSync(path, 'utf8')) : { cases: [] }) as { cases: Case[] }

  it.each(cases)('is cut as in every language: $picture at $point, $size', ({ picture: [width, height], point: [x, y], size, crop }) => {
    const [left, top, side] = crop
    expect(cropAround({ width, height }, { x, y }, size)).toEqual({ x: left, y: top, side } satisfies Square)
  })
})

type Pair = readonly [number, number]

interface Whole {
  readonly stage: Pair
  readonly picture: Pair
  readonly fit: 'cover' | 'contain'
  readonly centre: Pair
  readonly square: readonly [left: number, top: number, side: number]
}

/** tests/support/whole_vectors.json: the largest square that is seen, which all apps call the whole picture. */
const wholes = process.env.WHOLE_CASES
describe.skipIf(!wholes)('The whole picture', () => {
  const cases = (wholes ? JSON.parse(readFileSync(wholes, 'utf8')) : []) as Whole[]
  const size = ([width, height]: Pair) => ({ width, height })

  it.each(cases)('is that of every app: $picture on $stage, $fit, at $centre', ({ stage, picture, fit, centre, square }) => {
    const { x, y, side } = new View(size(stage), size(picture), fit).largestSquare({ x: centre[0], y: centre[1] })
    expect([x, y, side]).toEqual(square)
  })
})

describe('Aim', () => {
  const view = new View({ width: 640, height: 480 }, { width: 640, height: 480 }, 'cover')

  it('sees the largest square until someone points, then the square around the point', () => {
    const aim = new Aim()
    expect(aim.square(view).side).toBe(480)
    aim.pointAt(view, { x: 100, y: 200 })
    expect(aim.square(view)).toEqual({ x: 4, y: 104, side: 192 })
    aim.isWhole = true
    expect(aim.square(view).side).toBe(480)
  })

  it('keeps the square between a tenth and all of the shorter side', () => {
    const aim = new Aim()
    aim.part = 0
    expect(aim.square(view).side).toBe(48)
    aim.part = 7
    expect(aim.square(view).side).toBe(480)
  })

  it('moves by a part of the square and stops at the edge', () => {
    const aim = new Aim()
    aim.pointAt(view, { x: 320, y: 240 })
    aim.step(view, { x: 1, y: 0 })
    expect(aim.centre(view).x).toBeCloseTo(320 + 0.15 * 192)
    for (let n = 0; n < 40; n++) aim.step(view, { x: 1, y: 0 })
    expect(aim.centre(view).x).toBeCloseTo(640)
    expect(aim.square(view).x).toBe(640 - 192)
  })
})
