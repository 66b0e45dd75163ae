/** Two fingers on the stage, or Ctrl and the wheel (which is what a touchpad's pinch is): a larger or a smaller square. */

export interface PinchHost {
  /** The fingers are now `factor` times as far apart as when they came down. */
  onPinch(factor: number): void
  onPinchStart(): void
  onPinchEnd(): void
}

const PER_WHEEL = 0.002 // of the size, per pixel that the wheel says
const WHEEL_RESTS = 250 // milliseconds without a turn after which it is let go

export class Pinch {
  private readonly fingers = new Map<number, { x: number; y: number }>()
  private start = 0
  private wheel: { factor: number; timer: ReturnType<typeof setTimeout> } | null = null

  constructor(
    target: HTMLElement,
    private readonly host: PinchHost,
  ) {
    target.addEventListener('pointerdown', (event) => this.down(event))
    target.addEventListener('pointermove', (event) => this.moved(event))
    for (const end of ['pointerup', 'pointercancel', 'pointerleave'] as const) {
      target.addEventListener(end, (event) => this.up(event))
    }
    target.addEventListener('wheel', (event) => this.turned(event), { passive: false })
  }

  private down(event: PointerEvent): void {
    if (event.pointerType !== 'touch') return
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY })
    if (this.fingers.size !== 2) return
    this.start = this.apart()
    this.host.onPinchStart()
  }

  private moved(event: PointerEvent): void {
    if (!this.fingers.has(event.pointerId)) return
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY })
    if (this.fingers.size === 2 && this.start > 0) this.host.onPinch(this.apart() / this.start)
  }

  private up(event: PointerEvent): void {
    const wasPinch = this.fingers.size === 2 && this.fingers.has(event.pointerId)
    this.fingers.delete(event.pointerId)
    if (wasPinch) this.host.onPinchEnd()
  }

  private apart(): number {
    const [a, b] = [...this.fingers.values()]
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0
  }

  private turned(event: WheelEvent): void {
    if (!event.ctrlKey) return
    event.preventDefault()
    if (this.wheel) clearTimeout(this.wheel.timer)
    else this.host.onPinchStart()
    const factor = (this.wheel?.factor ?? 1) * Math.exp(-event.deltaY * PER_WHEEL)
    const timer = setTimeout(() => {
      this.wheel = null
      this.host.onPinchEnd()
    }, WHEEL_RESTS)
    this.wheel = { factor, timer }
    this.host.onPinch(factor)
  }
}
