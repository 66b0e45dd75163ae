import { describe, expect, it } from 'vitest'

import { type Box, overlap, placeLabel } from '../src/ui/placing'

const free: Box = { left: 12, top: 68, width: 366, height: 500 }
const size = { width: 280, tall: 158, above: 118, least: 80 }
const around = (x: number, y: number, half: number): Box => ({ left: x - half, top: y - half, width: 2 * half, height: 2 * half })
const inside = (box: Box) =>
  box.left >= free.left && box.top >= free.top && box.left + box.width <= free.left + free.width && box.top + box.height <= free.top + free.height

describe('placeLabel', () => {
  it('lies below its subject, and above one that is low', () => {
    expect(placeLabel({ x: 195, y: 200 }, around(195, 200, 80), free, size)).toMatchObject({ side: 'below', top: 280, height: 158 })
    expect(placeLabel({ x: 195, y: 480 }, around(195, 480, 80), free, size)).toMatchObject({ side: 'above', top: 282, height: 118 })
  })

  it('lies beside a subject that leaves no room above and below', () => {
    const wide = { ...free, width: 900 }
    const place = placeLabel({ x: 600, y: 300 }, around(600, 300, 240), wide, size)
    expect(place.side).toBe('left')
    expect(overlap(place, around(600, 300, 240))).toBe(false)
  })

  it('covers a part of a subject that fills the stage, far from the point', () => {
    const place = placeLabel({ x: 195, y: 120 }, around(195, 318, 249), free, size)
    expect(place.side).toBe('edge')
    expect(inside(place)).toBe(true)
    expect(place.top).toBeGreaterThan(318)
  })

  it.each([0, 1, 2, 3, 4, 5, 6, 7])('covers neither subject nor other labels, wherever the points are (%i)', (seed) => {
    const taken: Box[] = []
    for (let n = 0; n < 4; n++) {
      const point = { x: 40 + ((seed * 97 + n * 61) % 310), y: 100 + ((seed * 53 + n * 11) % 400) }
      const subject = around(point.x, point.y, 14)
      const place = placeLabel(point, subject, free, n === 0 ? size : { width: 280, tall: 48, above: 48, least: 48 }, taken)
      expect(inside(place)).toBe(true)
      expect([subject, ...taken].filter((box) => overlap(place, box))).toEqual([])
      taken.push(place)
    }
  })

  it('piles labels of one point up without covering any', () => {
    const taken: Box[] = []
    const subject = around(195, 300, 14)
    for (let n = 0; n < 4; n++) {
      const place = placeLabel({ x: 195, y: 300 }, subject, free, { width: 280, tall: 48, above: 48, least: 48 }, [...taken, subject])
      expect([subject, ...taken].filter((box) => overlap(place, box))).toEqual([])
      taken.push(place)
    }
  })
})
