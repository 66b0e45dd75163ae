/** Numbers as people read them. */

export function seconds(milliseconds: number): string {
  return milliseconds < 9950 ? `${(milliseconds / 1000).toFixed(2)} s` : `${Math.round(milliseconds / 1000)} s`
}

export function megabytes(bytes: number): string {
  const size = bytes / 1e6
  return `${size < 9.95 ? size.toFixed(1) : Math.round(size)} MB`
}

export function perSecond(rate: number): string {
  return `${rate < 9.95 ? rate.toFixed(1) : Math.round(rate)} tok/s`
}

export function millions(count: number): string {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)} billion` : `${(count / 1e6).toFixed(1)} million`
}

/** Sides of the squares that a model may look at, the finest first, each with its name for a user. */
export function pictureDetails(sizes: readonly number[]): [size: number, name: string][] {
  const sorted = [...sizes].sort((a, b) => b - a)
  const name = (n: number) => (n === 0 ? 'Fine' : n === sorted.length - 1 ? 'Fast' : 'Medium')
  return sorted.map((size, n) => [size, `${name(n)}, ${size} pixels`])
}

export function percent(part: number): string {
  return `${Math.round(100 * part)} %`
}
