/** The stage: the picture, the square that the model sees, the pin and its label. */

import type { Point, Size, Square } from 'phantom-edge-web'

import { Aim } from '../source/aim'
import type { Source } from '../source/source'
import { View } from '../source/view'
import { CropControls } from './crop_controls'
import { button, element } from './dom'
import { Label } from './label'
import { Pinch } from './pinch'
import { around, type Box } from './placing'

const KEY_PART = 0.05 // of the picture's shorter side, per key that makes the square larger or smaller
const ARROWS: Readonly<Record<string, Point>> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
}
const SIZES: Readonly<Record<string, number>> = { '+': 1, '=': 1, '-': -1, PageUp: 1, PageDown: -1 }
const PIN = 22 // half the pin in pixels
const BESIDE = 10 // pixels between the square and the label
const AROUND_POINT = 44 // where all of the picture is seen, what is near the point stays in sight
const MARGIN = 12

export type StageState = 'loading' | 'ready' | 'looking' | 'answering' | 'paused' | 'stopped'

export class Stage {
  readonly video = element('video', HTMLVideoElement)
  readonly still = element('still', HTMLCanvasElement)
  readonly overlay = element('overlay', HTMLElement)
  readonly aim = new Aim()
  label: Label
  private readonly root = element('stage', HTMLElement)
  private readonly finder = element('finder', HTMLElement)
  private readonly bar = element('bar', HTMLElement)
  private readonly pin = button('pin')
  private readonly labels = element('labels', HTMLElement)
  private readonly crop = new CropControls(this.aim, { onCrop: (isFinal) => this.cropped(isFinal) })
  private current: Source | null = null

  /** `onAim` is called when the pin or the square is another; `panel` may lie over the stage. */
  constructor(
    private readonly panel: HTMLElement,
    private readonly onAim: () => void,
  ) {
    this.label = new Label(this.labels)
    new ResizeObserver(() => this.layout()).observe(this.root)
    this.video.addEventListener('resize', () => this.layout())
    this.video.addEventListener('loadedmetadata', () => this.layout())
    this.overlay.addEventListener('click', (event) => this.clicked(event))
    this.pin.addEventListener('keydown', (event) => this.moved(event))
    let part = this.aim.part
    new Pinch(this.overlay, {
      onPinchStart: () => (part = this.aim.isWhole ? 1 : this.aim.part),
      onPinch: (factor) => {
        this.aim.part = part * factor
        this.cropped(false)
      },
      onPinchEnd: () => this.cropped(true),
    })
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
    this.crop.disabled = source === null
    this.label.clear()
    this.layout()
  }

  /** What the model sees around the pin, in source pixels; null while there is no picture. */
  square(): Square | null {
    const view = this.view()
    if (!view || !this.current?.aim) return view && this.aim.square(view)
    const point = this.current.aim()
    return point && this.aim.square(view, view.toSource(point))
  }

  /** Of the stage, in CSS pixels. */
  get size(): Size {
    return { width: this.root.clientWidth, height: this.root.clientHeight }
  }

  /** The part of the stage where labels may lie: without the bar, and without the panel where it floats above. */
  get free(): Box {
    const stage = this.root.getBoundingClientRect()
    const panel = this.panel.getBoundingClientRect()
    const top = this.bar.offsetHeight + MARGIN
    const beneath = panel.top < stage.bottom && panel.left <= stage.left
    const beside = panel.left < stage.right && panel.left > stage.left
    const bottom = (beneath ? panel.top - stage.top : stage.height) - MARGIN
    const right = (beside ? panel.left - stage.left : stage.width) - MARGIN
    return { left: MARGIN, top, width: Math.max(0, right - MARGIN), height: Math.max(0, bottom - top) }
  }

  /** A label of its own for another place; the one before stays where it is, with its answer. */
  addLabel(): Label {
    this.label = new Label(this.labels)
    return this.label
  }

  /** Where `point` of the stage is labelled from: the square around it, or near it where all of the picture is seen. */
  subject(point: Point): Box {
    const half = this.aim.isWhole ? AROUND_POINT : PIN
    const near = { left: point.x - half, top: point.y - half, width: 2 * half, height: 2 * half }
    const view = this.view()
    if (!view || this.aim.isWhole) return near
    const { x, y, side } = view.squareOnStage(this.aim.square(view, view.toSource(point)))
    const square = { left: x - BESIDE, top: y - BESIDE, width: side + 2 * BESIDE, height: side + 2 * BESIDE }
    return around(near, square)
  }

  /** Puts everything where it belongs. In AR, whoever tracks the world places pin and labels. */
  layout(): void {
    this.crop.show()
    const view = this.view()
    const shown = view !== null && this.current?.kind !== 'ar'
    this.pin.hidden = !shown
    this.root.dataset.aim = this.aim.isWhole ? 'whole' : 'part'
    if (!shown) {
      if (this.current?.kind !== 'ar') this.label.hide()
      return
    }
    const square = this.aim.square(view)
    const point = view.toStage(this.aim.centre(view))
    this.showSquare(view, square)
    this.pin.style.transform = `translate(${point.x}px, ${point.y}px)`
    this.label.place(point, this.subject(point), this.free)
  }

  /** In AR: shows the square around a point of the stage, or none. */
  showAim(point: Point | null): void {
    const view = this.view()
    this.root.toggleAttribute('data-aimed', view !== null && point !== null)
    if (view && point) this.showSquare(view, this.aim.square(view, view.toSource(point)))
  }

  private showSquare(view: View, square: Square): void {
    const { x, y, side } = view.squareOnStage(square)
    this.finder.style.transform = `translate(${x}px, ${y}px)`
    this.finder.style.width = this.finder.style.height = `${side}px`
    this.root.dataset.square = `${square.x},${square.y},${square.side}`
  }

  private view(): View | null {
    const size = this.current?.size
    const stage = this.size
    return size && stage.width > 0 && stage.height > 0 ? new View(stage, size, this.current?.fit ?? 'cover') : null
  }

  /** The pin or the square is another: what was answered was about something else. */
  private cropped(isFinal: boolean): void {
    this.label.clear()
    this.layout()
    if (isFinal) this.onAim()
  }

  private clicked(event: MouseEvent): void {
    const view = this.view()
    if (!view || this.current?.kind === 'ar' || event.target !== this.overlay) return
    const { left, top } = this.root.getBoundingClientRect()
    this.aim.pointAt(view, view.toSource({ x: event.clientX - left, y: event.clientY - top }))
    this.cropped(true)
  }

  private moved(event: KeyboardEvent): void {
    const arrow = ARROWS[event.key]
    const size = SIZES[event.key]
    const view = this.view()
    if (!view || (!arrow && !size) || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    if (arrow) this.aim.step(view, arrow)
    if (size) this.aim.part += size * KEY_PART
    this.cropped(true)
  }
}
