/** The stage: the picture, the square that the model sees, the pin and its label. */

import { clamp, type Point, type Size, type Square, View } from '../source/crop'
import type { Source } from '../source/source'
import { button, element } from './dom'
import { Label } from './label'

const STEP = 0.06 // of the square, per arrow key
const ARROWS: Readonly<Record<string, Point>> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
}

export type StageState = 'loading' | 'ready' | 'looking' | 'answering' | 'paused' | 'stopped'

export class Stage {
  readonly video = element('video', HTMLVideoElement)
  readonly still = element('still', HTMLCanvasElement)
  readonly overlay = element('overlay', HTMLElement)
  label: Label
  private readonly root = element('stage', HTMLElement)
  private readonly finder = element('finder', HTMLElement)
  private readonly pin = button('pin')
  private readonly labels = element('labels', HTMLElement)
  private current: Source | null = null
  /** In parts of the source's width and height, so that it survives a rotation or another resolution. */
  private at: Point = { x: 0.5, y: 0.42 }

  constructor(private readonly onAim: () => void) {
    this.label = new Label(this.labels)
    new ResizeObserver(() => this.layout()).observe(this.root)
    this.video.addEventListener('resize', () => this.layout())
    this.video.addEventListener('loadedmetadata', () => this.layout())
    this.overlay.addEventListener('click', (event) => this.clicked(event))
    this.pin.addEventListener('keydown', (event) => this.moved(event))
  }

  get state(): StageState {
    return (this.root.dataset.state ?? 'loading') as StageState
  }

  set state(state: StageState) {
    this.root.dataset.state = state
  }

  set source(source: Source | null) {
    this.current = source
    if (source) this.root.dataset.source = source.kind
    else delete this.root.dataset.source
    this.label.clear()
    this.layout()
  }

  /** The square around the pin, in source pixels; null while there is no picture. */
  square(): Square | null {
    const view = this.view()
    if (!view || !this.current?.aim) return view && view.square(this.centre(view))
    const aim = this.current.aim()
    return aim && view.square(view.toSource(aim))
  }

  /** Of the stage, in CSS pixels. */
  get size(): Size {
    return { width: this.root.clientWidth, height: this.root.clientHeight }
  }

  /** A label of its own for another place; the one before stays where it is, with its answer. */
  addLabel(): Label {
    this.label = new Label(this.labels)
    return this.label
  }

  /** Puts everything where it belongs. In AR, whoever tracks the world places pin and labels. */
  layout(): void {
    const view = this.view()
    const shown = view !== null && this.current?.kind !== 'ar'
    this.pin.hidden = !shown
    if (!shown) {
      if (this.current?.kind !== 'ar') this.label.hide()
      return
    }
    const centre = this.centre(view)
    const square = view.square(centre)
    const { x, y, side } = view.squareOnStage(square)
    this.finder.style.transform = `translate(${x}px, ${y}px)`
    this.finder.style.width = this.finder.style.height = `${side}px`
    this.root.dataset.square = `${square.x},${square.y},${square.side}`
    const point = view.toStage(centre)
    this.pin.style.transform = `translate(${point.x}px, ${point.y}px)`
    this.label.place(point, view.stage)
  }

  private view(): View | null {
    const size = this.current?.size
    const stage = this.size
    return size && stage.width > 0 && stage.height > 0 ? new View(stage, size, this.current?.fit ?? 'cover') : null
  }

  /** The pin in source pixels, kept on the visible part. */
  private centre(view: View): Point {
    return view.toSource(view.toStage({ x: this.at.x * view.source.width, y: this.at.y * view.source.height }))
  }

  private aim(view: View, point: Point): void {
    this.at = { x: point.x / view.source.width, y: point.y / view.source.height }
    this.label.clear()
    this.layout()
    this.onAim()
  }

  private clicked(event: MouseEvent): void {
    const view = this.view()
    if (!view || this.current?.kind === 'ar' || event.target !== this.overlay) return
    const { left, top } = this.root.getBoundingClientRect()
    this.aim(view, view.toSource({ x: event.clientX - left, y: event.clientY - top }))
  }

  private moved(event: KeyboardEvent): void {
    const arrow = ARROWS[event.key]
    const view = this.view()
    if (!arrow || !view) return
    event.preventDefault()
    const centre = this.centre(view)
    const step = view.square(centre).side * STEP
    const x = clamp(centre.x + arrow.x * step, 0, view.source.width)
    const y = clamp(centre.y + arrow.y * step, 0, view.source.height)
    this.aim(view, view.toSource(view.toStage({ x, y })))
  }
}
