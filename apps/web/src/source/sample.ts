/**
 * The built-in moving sample, for whoever has no camera or gives none: a wide picture, looked along as with a camera that
 * goes from one thing to the next and stays a while at each.
 */

import { Failure, type Frame, type Size, type Square } from 'phantom-edge-web'

import { text } from '../i18n/text'
import list from '../samples/samples.json'
import wide from '../samples/wide.jpg'
import { START } from './aim'
import { Cutter, type Source } from './source'
import { clamp } from './view'

const STAY = 4000 // milliseconds at each thing
const MOVE = 1200 // and from one to the next; nothing moves for who prefers that
const STOPS = Object.keys(list.along).length

/** Where the sample looks: a place between its things, counted in them, and at which of them it stays. */
interface Place {
  readonly position: number
  readonly stop: number | null
}

export class Sample implements Source {
  readonly kind = 'sample'
  readonly fit = 'cover'
  private readonly cutter = new Cutter()
  private readonly move = matchMedia('(prefers-reduced-motion: reduce)').matches ? 0 : MOVE
  private begun = performance.now()
  private frozen: number | null = null
  private stop: number | null = null
  private drawn = ''
  private handle = 0

  private constructor(
    private readonly picture: ImageBitmap,
    private readonly canvas: HTMLCanvasElement,
    private readonly onMove: () => void,
  ) {}

  /**
   * Moves in `canvas`, in the proportions of its parent. `onMove` is called whenever it leaves a thing.
   *
   * @throws {Failure} `network` when the picture cannot be had.
   */
  static async open(canvas: HTMLCanvasElement, onMove: () => void): Promise<Sample> {
    try {
      const picture = await createImageBitmap(await (await fetch(wide)).blob())
      return new Sample(picture, canvas, onMove)
    } catch {
      throw new Failure('picture', text('mend.sample'))
    }
  }

  /** Begins to move. */
  show(): void {
    this.begun = performance.now()
    this.canvas.hidden = false
    this.tick()
  }

  /** As the stage is, the shorter side that of a thing's picture: what is seen of it is then all of it. */
  get size(): Size {
    const { clientWidth, clientHeight } = this.canvas.parentElement ?? this.canvas
    const shorter = Math.min(clientWidth, clientHeight)
    const long = (side: number) => Math.round(clamp((list.side * side) / (shorter || 1), list.side, list.cell))
    return { width: long(clientWidth), height: long(clientHeight) }
  }

  /** None while it moves, as of a camera that is being turned. */
  async grab(square: Square): Promise<Frame | null> {
    this.draw()
    if (this.frozen !== null) return this.cutter.cutStill(this.canvas, square)
    return this.place().stop === null ? null : this.cutter.cut(this.canvas, square)
  }

  freeze(): void {
    this.frozen ??= performance.now() - this.begun
  }

  thaw(): void {
    if (this.frozen !== null) this.begun = performance.now() - this.frozen
    this.frozen = null
    this.cutter.forget()
  }

  close(): void {
    cancelAnimationFrame(this.handle)
    this.canvas.hidden = true
    this.picture.close()
  }

  private tick(): void {
    this.handle = requestAnimationFrame(() => this.tick())
    this.draw()
    const { stop } = this.place()
    if (stop === this.stop) return
    const left = this.stop !== null
    this.stop = stop
    if (left) this.onMove()
  }

  private place(): Place {
    const time = this.frozen ?? performance.now() - this.begun
    const step = Math.floor(time / (STAY + this.move))
    const moved = (time - step * (STAY + this.move) - STAY) / (this.move || 1)
    const from = thereAndBack(step)
    if (moved < 0) return { position: from, stop: from }
    const eased = moved * moved * (3 - 2 * moved)
    return { position: from + (thereAndBack(step + 1) - from) * eased, stop: null }
  }

  /** Draws what is seen now; the thing lies where the model looks as long as nobody has pointed elsewhere. */
  private draw(): void {
    const { width, height } = this.size
    const x = Math.round(list.cell * (this.place().position + 0.5) - width / 2)
    const top = clamp(START.y * height - list.side / 2, 0, height - list.side)
    const y = Math.round((this.picture.height - list.side) / 2 - Math.floor(top))
    const drawn = `${x},${y},${width},${height}`
    if (drawn === this.drawn) return
    this.drawn = drawn
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height })
    this.canvas.getContext('2d')?.drawImage(this.picture, x, y, width, height, 0, 0, width, height)
  }
}

/** 0, 1, … to the last stop and back again. */
function thereAndBack(step: number): number {
  const way = 2 * (STOPS - 1)
  const at = step % way
  return at < STOPS ? at : way - at
}
