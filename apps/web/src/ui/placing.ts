/** Where a label goes: beside its subject and never over it where there is room, and never over another label. */

import type { Point, Size } from 'phantom-edge-web'

import { clamp } from '../source/view'

export interface Box extends Size {
  readonly left: number
  readonly top: number
}

/** What a label may measure: its width, how tall it may become, the one height that it has above its subject, and the
 * height below which it is of no use. */
export interface LabelSize {
  readonly width: number
  readonly tall: number
  readonly above: number
  readonly least: number
}

export interface Placement extends Box {
  /** On which side of the subject; `edge` where no side has room, and the label lies over a part of it. */
  readonly side: 'below' | 'above' | 'right' | 'left' | 'edge'
}

/**
 * The place of a label about `point` inside of `free`, beside `subject` and beside the boxes in `taken`.
 *
 * It depends on how tall the label may become, not on how tall it is, so that text that streams in moves nothing.
 */
export function placeLabel(point: Point, subject: Box, free: Box, size: LabelSize, taken: readonly Box[] = []): Placement {
  const places = besides(point, subject, free, size)
  const clear = places.filter((place) => !taken.some((box) => overlap(place, box)))
  const whole = clear.find(({ side, height }) => height >= (side === 'above' ? size.above : size.tall))
  if (whole) return whole
  const [tallest] = clear.toSorted((a, b) => b.height - a.height)
  if (tallest && tallest.height >= size.least) return tallest
  return nextTo(taken, subject, places, free, size) ?? atEdge(point, free, size)
}

/** The four sides of the subject, as tall as there is room; those beside it only where the label is not too wide. */
function besides(point: Point, subject: Box, free: Box, size: LabelSize): Placement[] {
  const { width, tall } = size
  const across = clamp(point.x - width / 2, free.left, right(free) - width)
  const below = Math.min(tall, bottom(free) - bottom(subject))
  const above = Math.min(size.above, subject.top - free.top)
  const beside = Math.min(tall, free.height)
  const down = clamp(point.y - beside / 2, free.top, bottom(free) - beside)
  const places: Placement[] = [
    { side: 'below', left: across, top: bottom(subject), width, height: below },
    { side: 'above', left: across, top: subject.top - above, width, height: above },
    { side: 'right', left: right(subject), top: down, width, height: beside },
    { side: 'left', left: subject.left - width, top: down, width, height: beside },
  ]
  return places.filter(({ left, height }) => left >= free.left && left + width <= right(free) && height > 0)
}

/** The place above or below one of the other labels that is nearest to a side of the subject. */
function nextTo(
  taken: readonly Box[],
  subject: Box,
  places: readonly Placement[],
  free: Box,
  { tall }: LabelSize,
): Placement | null {
  const height = Math.min(tall, free.height)
  let best: { place: Placement; way: number } | null = null
  for (const place of places) {
    for (const top of taken.flatMap((box) => [bottom(box) + 1, box.top - height - 1])) {
      const moved = { ...place, top, height }
      if (top < free.top || top + height > bottom(free)) continue
      if ([subject, ...taken].some((box) => overlap(moved, box))) continue
      const way = Math.abs(top - place.top)
      if (!best || way < best.way) best = { place: moved, way }
    }
  }
  return best?.place ?? null
}

/** At the top or the bottom of the stage, whichever is farther from the point: what is pinned stays in sight. */
function atEdge(point: Point, free: Box, { width, tall, least }: LabelSize): Placement {
  const atTop = point.y - free.top > bottom(free) - point.y
  const room = atTop ? point.y - free.top : bottom(free) - point.y
  const height = Math.max(0, Math.min(tall, free.height, Math.max(least, room / 2)))
  const left = clamp(point.x - width / 2, free.left, right(free) - width)
  return { side: 'edge', left, top: atTop ? free.top : bottom(free) - height, width, height }
}

function right(box: Box): number {
  return box.left + box.width
}

function bottom(box: Box): number {
  return box.top + box.height
}

export function overlap(a: Box, b: Box): boolean {
  return a.left < right(b) && b.left < right(a) && a.top < bottom(b) && b.top < bottom(a)
}

/** The box around both. */
export function around(a: Box, b: Box): Box {
  const left = Math.min(a.left, b.left)
  const top = Math.min(a.top, b.top)
  return { left, top, width: Math.max(right(a), right(b)) - left, height: Math.max(bottom(a), bottom(b)) - top }
}
