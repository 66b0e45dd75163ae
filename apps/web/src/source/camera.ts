/** The camera as a source of pictures, and what keeps a browser from giving it. */

import { capture, Failure, type Frame, type Size, type Square } from 'phantom-edge-web'

import type { AppFailure } from '../failure'
import { text } from '../i18n/text'
import { Cutter, type Source } from './source'

const WANTED = { width: { ideal: 1280 }, height: { ideal: 720 } }

/** Which way the camera looks: `environment` away from the user, `user` at them. */
export type Facing = 'environment' | 'user'

export class Camera implements Source {
  readonly kind = 'camera'
  readonly fit = 'cover'
  private readonly cutter = new Cutter()
  private frozen = false

  private constructor(
    private readonly video: HTMLVideoElement,
    private readonly still: HTMLCanvasElement,
    private readonly stream: MediaStream,
  ) {}

  /**
   * Asks for a camera, which {@link show} shows in `video`; `still` shows the picture while it is frozen. `onEnd` is called
   * when the camera goes away by itself.
   *
   * @throws {Failure} `camera-…`, saying what to do.
   */
  static async open(
    video: HTMLVideoElement,
    still: HTMLCanvasElement,
    facing: Facing,
    onEnd: () => void,
  ): Promise<Camera> {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Failure('camera-insecure', text('mend.camera-insecure'))
    }
    let stream: MediaStream
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { ...WANTED, facingMode: facing }, audio: false })
    } catch (error) {
      throw cameraFailure(error)
    }
    stream.getVideoTracks()[0]?.addEventListener('ended', onEnd)
    return new Camera(video, still, stream)
  }

  async show(): Promise<void> {
    this.video.srcObject = this.stream
    this.video.hidden = false
    await this.video.play().catch(() => undefined) // interrupted by a newer one, or played once the page is shown
  }

  /** How many cameras there are; labels and counts are given only after permission. */
  static async count(): Promise<number> {
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => [])
    return devices.filter((device) => device.kind === 'videoinput').length
  }

  get size(): Size | null {
    const { videoWidth: width, videoHeight: height } = this.video
    return width > 0 ? { width, height } : null
  }

  async grab(square: Square): Promise<Frame | null> {
    if (!this.size || this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return null
    if (this.frozen) return this.cutter.cutStill(this.still, square)
    return capture(this.video, square)
  }

  freeze(): void {
    if (this.frozen || !this.size) return
    Object.assign(this.still, this.size)
    this.still.getContext('2d')?.drawImage(this.video, 0, 0)
    this.still.hidden = false
    this.frozen = true
  }

  thaw(): void {
    this.still.hidden = true
    this.frozen = false
    this.cutter.forget()
  }

  close(): void {
    if (this.frozen) this.thaw()
    for (const track of this.stream.getTracks()) track.stop()
    if (this.video.srcObject !== this.stream) return // the video shows a newer one
    this.video.srcObject = null
    this.video.hidden = true
  }
}

function cameraFailure(error: unknown): AppFailure {
  const name = error instanceof DOMException ? error.name : ''
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return new Failure('camera-refused', text('mend.camera-refused'))
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new Failure('camera-missing', text('mend.camera-missing'))
    case 'NotReadableError':
    case 'AbortError':
      return new Failure('camera-busy', text('mend.camera-busy'))
    default:
      return new Failure('camera-missing', text('mend.camera-dead', { reason: name || String(error) }))
  }
}
