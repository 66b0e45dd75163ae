/** Light and dark, and an accent colour of the app's own that stays readable on both. */

import type { Scheme } from './preferences'

/** As style.css has them: the panel, on which the accent is written, and the most that is laid over it. */
const GROUNDS = { light: '#e6ebf1', dark: '#1d2631' } as const
const BAR = { light: '#f3f6f9', dark: '#0c1117' } as const // the colour of the browser's own bar
const READABLE = 4.5 // WCAG 2.2, text of any size
const STEPS = 100

type Colour = readonly [red: number, green: number, blue: number]

/** Shows the page in a scheme; `accent` is `#rrggbb`, or null for the style sheet's own. */
export function applyTheme(scheme: Scheme, accent: string | null): void {
  const root = document.documentElement
  root.dataset.scheme = scheme
  for (const meta of document.querySelectorAll<HTMLMetaElement>('meta[name=theme-color]')) {
    const own = meta.media.includes('light') ? 'light' : 'dark'
    meta.content = BAR[scheme === 'auto' ? own : scheme]
  }
  if (accent === null) return
  root.style.setProperty('--brand', accent)
  for (const ground of ['light', 'dark'] as const) {
    const readable = readableAccent(accent, ground)
    root.style.setProperty(`--accent-${ground}`, readable)
    root.style.setProperty(`--on-accent-${ground}`, inkOn(readable))
  }
}

/** The colour, moved as little towards black or white as it takes to be read on the page in that scheme. */
export function readableAccent(accent: string, ground: 'light' | 'dark'): string {
  const from = parse(accent)
  const towards = ground === 'light' ? 0 : 255
  for (let step = 0; step <= STEPS; step++) {
    const mixed = from.map((channel) => Math.round(channel + ((towards - channel) * step) / STEPS)) as unknown as Colour
    if (contrast(hex(mixed), GROUNDS[ground]) >= READABLE) return hex(mixed)
  }
  return hex([towards, towards, towards])
}

/** Black or white, whichever is read better on a colour: one of them always has a contrast of 4.5. */
export function inkOn(colour: string): string {
  return contrast(colour, '#000000') >= contrast(colour, '#ffffff') ? '#000000' : '#ffffff'
}

/** WCAG's contrast of two colours, 1 to 21. */
export function contrast(a: string, b: string): number {
  const [high, low] = [luminance(parse(a)), luminance(parse(b))].sort((x, y) => y - x) as [number, number]
  return (high + 0.05) / (low + 0.05)
}

function luminance(colour: Colour): number {
  const [red, green, blue] = colour.map((channel) => {
    const value = channel / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  }) as unknown as Colour
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

function parse(colour: string): Colour {
  const value = Number.parseInt(colour.slice(1), 16)
  return [value >> 16, (value >> 8) & 255, value & 255]
}

function hex(colour: Colour): string {
  return `#${colour.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`
}
