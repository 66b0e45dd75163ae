import { createHash, randomFillSync } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { digest, sha256 } from '../src/bundle/sha256'

const expected = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe('sha256', () => {
  afterEach(() => vi.unstubAllGlobals())

  it.each([0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 100_003])('of %i bytes, with and without the browser', async (length) => {
    const bytes = randomFillSync(new Uint8Array(length))
    expect(await sha256(bytes)).toBe(expected(bytes))
    vi.stubGlobal('crypto', {}) // as a page has it that came by plain http
    expect(await sha256(bytes)).toBe(expected(bytes))
  })

  it('reads a part of a buffer in its place', () => {
    const whole = randomFillSync(new Uint8Array(300))
    const part = whole.subarray(33, 250)
    expect(Buffer.from(digest(part)).toString('hex')).toBe(expected(part))
  })
})
