/** Sets of Unicode code points, as ascending ranges that do not touch: `[first, last, first, last, …]`. */

export type CharSet = readonly number[]

export const LAST_CHARACTER = 0x10ffff
export const DIGITS: CharSet = setOf([0x30, 0x39])
export const WORD: CharSet = setOf([0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a])
export const SPACE: CharSet = setOf([0x09, 0x0d, 0x20, 0x20])
/** Any character but a line feed. */
export const DOT: CharSet = complement(setOf([0x0a, 0x0a]))

/** The set of all characters in any of the ranges, which may come in any order. */
export function setOf(ranges: readonly number[]): CharSet {
  const pairs = ranges.flatMap((first, n) => (n % 2 ? [] : [[first, ranges[n + 1]] as const]))
  const set: number[] = []
  for (const [first, last] of pairs.sort((a, b) => a[0] - b[0])) {
    const end = set.at(-1)
    if (end !== undefined && first <= end + 1) set[set.length - 1] = Math.max(end, last)
    else set.push(first, last)
  }
  return set
}

export function complement(set: CharSet): CharSet {
  const edges = [0, ...set.map((edge, n) => (n % 2 ? edge + 1 : edge - 1)), LAST_CHARACTER]
  return edges.flatMap((first, n) => (n % 2 || first > edges[n + 1] ? [] : [first, edges[n + 1]]))
}

export function contains(set: CharSet, character: number): boolean {
  for (let n = 0; n < set.length; n += 2) if (character <= set[n + 1]) return character >= set[n]
  return false
}
