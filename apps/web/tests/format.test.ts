import { describe, expect, it } from 'vitest'

import { pictureDetails } from '../src/ui/format'

describe('pictureDetails', () => {
  it.each([
    [[448, 224], ['Fine, 448 pixels', 'Fast, 224 pixels']],
    [[336, 448, 224], ['Fine, 448 pixels', 'Medium, 336 pixels', 'Fast, 224 pixels']],
    [[448, 392, 280, 224], ['Fine, 448 pixels', 'Medium, 392 pixels', 'Medium, 280 pixels', 'Fast, 224 pixels']],
  ])('names %j from the finest', (sizes, names) => {
    expect(pictureDetails(sizes).map(([, name]) => name)).toEqual(names)
    expect(pictureDetails(sizes).map(([size]) => size)).toEqual([...sizes].sort((a, b) => b - a))
  })
})
