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
