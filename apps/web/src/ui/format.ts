/** Numbers as people read them, in the language in use. */

import { language, number, text } from '../i18n/text'

export function seconds(milliseconds: number): string {
  return text('unit.seconds', { n: number(milliseconds / 1000, milliseconds < 9950 ? 2 : 0) })
}

export function megabytes(bytes: number): string {
  return text('unit.megabytes', { n: short(bytes / 1e6) })
}

export function perSecond(rate: number): string {
  return text('unit.rate', { n: short(rate) })
}

/** `494 million`, `1,2 Milliarden`. */
export function large(count: number): string {
  return count.toLocaleString(language(), { notation: 'compact', compactDisplay: 'long', maximumFractionDigits: 1 })
}

export function percent(part: number): string {
  return text('unit.percent', { n: number(100 * part) })
}

/** A square's side in pixels, both ways. */
export function squarePixels(side: number): string {
  return text('unit.square', { n: number(side) })
}

/** Sides of the squares that a model may look at, the finest first, each with its name for a user. */
export function pictureDetails(sizes: readonly number[]): [size: number, name: string][] {
  const sorted = [...sizes].sort((a, b) => b - a)
  const last = sorted.length - 1
  const key = (n: number) =>
    n === 0 ? 'settings.detail-fine' : n === last ? 'settings.detail-fast' : 'settings.detail-medium'
  return sorted.map((size, n) => [size, text(key(n), { size: text('unit.pixels', { n: number(size) }) })])
}

function short(value: number): string {
  return number(value, value < 9.95 ? 1 : 0)
}
