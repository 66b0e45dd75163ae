/**
 * AR: answers pinned in the room. A WebXR session with hit test, DOM overlay and camera access is a source of pictures
 * like any other; three.js draws the reticle and the pins, the labels stay HTML above the picture.
 */

import { Failure, type Frame, type Point, type Size, type Square } from 'phantom-edge-web'
import {
  Matrix4,
  Mesh,
  MeshBasicMaterial,
  PerspectiveCamera,
  RingGeometry,
  Scene,
  SphereGeometry,
  Vector3,
  WebGLRenderer,
} from 'three'

import { text } from '../i18n/text'
import { frameOf, type Source } from '../source/source'
import type { Label } from '../ui/label'
import type { Box } from '../ui/placing'
import type { Stage } from '../ui/stage'
import { CameraReader } from './camera_reader'

const REQUIRED = ['local', 'hit-test', 'dom-overlay', 'camera-access']
const MOST_PINS = 8
const WITHOUT_SURFACE = 0.8 // metres in front of the viewer, where no surface was found
const PIN = 14 // half a pin on the screen in pixels
const BETWEEN = 6 // pixels between two labels

export interface ArHost {
  /** The pin to ask about is another; said in words. */
  onAim(words: string): void
  onEnd(): void
}

interface Pin {
  readonly mesh: Mesh
  readonly label: Label
  anchor: XRAnchor | null
}

interface Request {
  readonly square: Square
  readonly resolve: (frame: Frame | null) => void
}

export class ArSource implements Source {
  readonly kind = 'ar'
  readonly fit = 'cover'
  size: Size | null = null
  private readonly scene = new Scene()
  private readonly camera = new PerspectiveCamera()
  private readonly reticle = new Mesh(
    new RingGeometry(0.045, 0.055, 32).rotateX(-Math.PI / 2),
    new MeshBasicMaterial({ color: 0x5ee0b7 }),
  )
  private readonly reader: CameraReader
  private readonly pins: Pin[] = []
  private hits: XRHitTestSource | null = null
  private touches: XRTransientInputHitTestSource | null = null
  private latest: { hit: XRHitTestResult | null; pose: Matrix4 | null } = { hit: null, pose: null }
  private request: Request | null = null
  private taken: { key: string; frame: Frame } | null = null
  private frozen = false

  private constructor(
    private readonly renderer: WebGLRenderer,
    private readonly session: XRSession,
    private readonly stage: Stage,
    private readonly host: ArHost,
    private readonly root: HTMLElement,
  ) {
    this.reader = new CameraReader(renderer)
    this.reticle.matrixAutoUpdate = false
    this.reticle.visible = false
    this.scene.add(this.reticle)
  }

  /**
   * Starts a session with `root` as its overlay. Must be called from a click.
   *
   * @throws {Failure} `ar` when the browser has no such session, or does not let the page see what the camera sees.
   */
  static async start(root: HTMLElement, stage: Stage, host: ArHost): Promise<ArSource> {
    let session: XRSession | undefined
    try {
      session = await navigator.xr?.requestSession('immersive-ar', {
        requiredFeatures: REQUIRED,
        optionalFeatures: ['anchors'],
        domOverlay: { root },
      })
    } catch {
      session = undefined
    }
    if (!session) {
      throw new Failure('ar', text('mend.ar'))
    }
    const renderer = new WebGLRenderer({ alpha: true })
    renderer.xr.enabled = true
    renderer.xr.setReferenceSpaceType('local')
    await renderer.xr.setSession(session)
    const source = new ArSource(renderer, session, stage, host, root)
    await source.open()
    return source
  }

  async grab(square: Square): Promise<Frame | null> {
    if (this.frozen && this.taken?.key === keyOf(square)) return this.taken.frame
    this.request?.resolve(null)
    return new Promise((resolve) => {
      this.request = { square, resolve }
    })
  }

  freeze(): void {
    this.frozen = true
  }

  thaw(): void {
    this.frozen = false
  }

  close(): void {
    void this.session.end().catch(() => undefined)
  }

  private async open(): Promise<void> {
    const { session } = this
    const viewer = await session.requestReferenceSpace('viewer')
    this.hits = (await session.requestHitTestSource?.({ space: viewer })) ?? null
    this.touches =
      (await session.requestHitTestSourceForTransientInput?.({ profile: 'generic-touchscreen' })?.catch(() => null)) ?? null
    this.root.dataset.ar = ''
    // A tap on a control is for the control, not for the room.
    this.root.addEventListener('beforexrselect', this.keepTaps)
    session.addEventListener('select', (event) => void this.place(this.along(event)))
    session.addEventListener('end', () => this.ended())
    this.renderer.setAnimationLoop((_time, frame) => {
      if (frame) this.draw(frame)
    })
  }

  private readonly keepTaps = (event: Event): void => {
    if ((event.target as Element).closest('button, input, form, ul, #panel, .card')) event.preventDefault()
  }

  private ended(): void {
    this.renderer.setAnimationLoop(null)
    this.request?.resolve(null)
    for (const pin of this.pins) pin.label.remove()
    if (this.pins.length > 0) this.stage.addLabel()
    this.stage.showAim(null)
    this.reader.dispose()
    this.renderer.dispose()
    this.root.removeEventListener('beforexrselect', this.keepTaps)
    delete this.root.dataset.ar
    this.host.onEnd()
  }

  private draw(frame: XRFrame): void {
    const space = this.renderer.xr.getReferenceSpace()
    const pose = space && frame.getViewerPose(space)
    if (!space || !pose) return
    this.findSurface(frame, space)
    this.followAnchors(frame, space)
    this.renderer.render(this.scene, this.camera)
    this.placeLabels()
    this.takePicture(pose)
  }

  private findSurface(frame: XRFrame, space: XRReferenceSpace): void {
    const touch = this.touches && frame.getHitTestResultsForTransientInput(this.touches)[0]?.results[0]
    const hit = touch ?? (this.hits ? frame.getHitTestResults(this.hits)[0] : undefined) ?? null
    const pose = hit?.getPose(space)
    this.latest = { hit, pose: pose ? new Matrix4().fromArray(pose.transform.matrix) : null }
    this.reticle.visible = this.latest.pose !== null
    if (this.latest.pose) this.reticle.matrix.copy(this.latest.pose)
  }

  readonly placePin = (): void => void this.place(this.camera.matrixWorld)

  /** Puts a pin where a surface is ahead, else along a ray; the one before keeps its answer. */
  private async place(ray: Matrix4): Promise<void> {
    const { hit, pose } = this.latest
    const mesh = new Mesh(new SphereGeometry(0.012, 24, 16), new MeshBasicMaterial({ color: 0x5ee0b7 }))
    const ahead = () => new Vector3(0, 0, -WITHOUT_SURFACE).applyMatrix4(ray)
    mesh.position.copy(pose ? new Vector3().setFromMatrixPosition(pose) : ahead())
    this.scene.add(mesh)
    const pin: Pin = { mesh, label: this.pins.length === 0 ? this.stage.label : this.stage.addLabel(), anchor: null }
    pin.label.clear()
    pin.label.onDelete = () => this.delete(pin)
    this.pins.push(pin)
    if (this.pins.length > MOST_PINS) this.drop(this.pins.shift())
    this.aimAtLast(text('spoken.placed'))
    pin.anchor = (await hit?.createAnchor?.()?.catch(() => undefined)) ?? null
  }

  /** The newest pin is the one that is asked about; the others show their answers alone. */
  private aimAtLast(words: string): void {
    for (const pin of this.pins) pin.label.isSmall = pin !== this.pins.at(-1)
    this.stage.label = this.pins.at(-1)?.label ?? this.stage.addLabel()
    this.stage.aim.isWhole = false
    this.stage.layout()
    this.thaw()
    this.host.onAim(words)
  }

  private delete(pin: Pin): void {
    this.pins.splice(this.pins.indexOf(pin), 1)
    this.drop(pin)
    this.aimAtLast(text('spoken.deleted'))
    this.root.querySelector<HTMLElement>('#place')?.focus() // the button that had it is gone
  }

  private drop(pin: Pin | undefined): void {
    if (!pin) return
    this.scene.remove(pin.mesh)
    pin.label.remove()
    pin.anchor?.delete()
  }

  /** The ray of a tap. */
  private along(event: XRInputSourceEvent): Matrix4 {
    const space = this.renderer.xr.getReferenceSpace()
    const ray = space && event.frame.getPose(event.inputSource.targetRaySpace, space)
    return ray ? new Matrix4().fromArray(ray.transform.matrix) : this.camera.matrixWorld
  }

  private followAnchors(frame: XRFrame, space: XRReferenceSpace): void {
    for (const pin of this.pins) {
      const pose = pin.anchor && frame.getPose(pin.anchor.anchorSpace, space)
      if (pose) pin.mesh.position.setFromMatrixPosition(new Matrix4().fromArray(pose.transform.matrix))
    }
  }

  private placeLabels(): void {
    const { size, free } = this.stage
    const points = this.pins.map(({ mesh }) => projected(mesh.position, this.camera, size))
    const taken = points.flatMap((point) => (point ? [pinBox(point)] : []))
    const last = points.at(-1) ?? null
    const subject = last && this.stage.subject(last)
    this.stage.showAim(last)
    // The newest first: its label has the best place, and the others leave what it is about in sight if they can.
    for (const [n, { label }] of [...this.pins.entries()].reverse()) {
      const point = points[n]
      if (!point) {
        label.hide()
        continue
      }
      const isLast = point === last
      const own = isLast && subject ? subject : pinBox(point)
      let place = label.place(point, own, free, isLast || !subject ? taken : [...taken, subject])
      if (place.side === 'edge') place = label.place(point, pinBox(point), free, taken)
      taken.push(roomOf(place))
    }
  }

  /** Gives whoever waits the camera's picture: all of it is what the screen shows. */
  private takePicture(pose: XRViewerPose): void {
    const xrCamera = pose.views.find((view) => view.camera)?.camera
    if (!xrCamera) return
    this.size = { width: xrCamera.width, height: xrCamera.height }
    const request = this.request
    // three.js takes WebXR's camera here; its types say its own class of nearly that name.
    const texture = request && this.renderer.xr.getCameraTexture(xrCamera as never)
    if (!request || !texture) return
    this.request = null
    const { square, resolve } = request
    void this.reader.read(texture, this.size, square).then((rgba) => {
      const frame = rgba && frameOf(square.side, square.side, rgba)
      this.taken = frame && { key: keyOf(square), frame }
      resolve(frame)
    })
  }

  readonly aim = (): Point | null => {
    const pin = this.pins.at(-1)
    return pin ? projected(pin.mesh.position, this.camera, this.stage.size) : null
  }
}

/** A point of the room on the screen, or null when it lies behind the viewer or outside the picture. */
export function projected(position: Vector3, camera: PerspectiveCamera, stage: Size): Point | null {
  const { x, y, z } = position.clone().project(camera)
  if (Math.abs(x) > 1 || Math.abs(y) > 1 || Math.abs(z) > 1) return null
  return { x: ((x + 1) / 2) * stage.width, y: ((1 - y) / 2) * stage.height }
}

function keyOf({ x, y, side }: Square): string {
  return `${x},${y},${side}`
}

/** The pin on the screen, which no label may cover. */
function pinBox({ x, y }: Point): Box {
  return { left: x - PIN, top: y - PIN, width: 2 * PIN, height: 2 * PIN }
}

/** A label with the room between it and the next. */
function roomOf({ left, top, width, height }: Box): Box {
  return { left: left - BETWEEN, top: top - BETWEEN, width: width + 2 * BETWEEN, height: height + 2 * BETWEEN }
}
