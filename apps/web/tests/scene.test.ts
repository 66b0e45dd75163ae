import { describe, expect, it } from 'vitest'

import { SceneWatch } from '../src/source/scene'
import { frameOf } from 'phantom-edge-web'

/** A square of one grey, a noisy one, or one whose right half has another grey. */
function picture(grey: number, { noise = 0, right = grey, side = 96 } = {}) {
  const rgba = new Uint8Array(side * side * 4)
  for (let n = 0; n < rgba.length; n++) {
    const base = (n >> 2) % side < side / 2 ? grey : right
    rgba[n] = n % 4 === 3 ? 255 : base + ((n * 7919) % (2 * noise + 1)) - noise
  }
  return frameOf(side, side, rgba.buffer)
}

describe('SceneWatch', () => {
  it('tells another scene from noise', () => {
    const watch = new SceneWatch()
    expect(watch.hasChanged(picture(100))).toBe(false)
    watch.keep()
    expect(watch.hasChanged(picture(100, { noise: 20 }))).toBe(false)
    expect(watch.hasChanged(picture(100, { right: 160 }))).toBe(true)
    expect(watch.hasChanged(picture(0))).toBe(false) // nothing is shown that could be of an earlier scene
    watch.keep()
    expect(watch.hasChanged(picture(255))).toBe(true)
  })

  it('compares with the picture of the answer, so that a slow change counts', () => {
    const watch = new SceneWatch()
    watch.hasChanged(picture(100))
    watch.keep()
    const changes = [104, 108, 112, 116].map((grey) => watch.hasChanged(picture(grey)))
    expect(changes).toEqual([false, false, false, true])
  })
})
