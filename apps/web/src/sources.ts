/** Which source the pictures come from: opens the camera, a file, the sample or AR as the user says, and closes the one before. */

import { asFailure } from 'phantom-edge-web'

import type { AppFailure } from './failure'
import { Camera, type Facing } from './source/camera'
import { Picture } from './source/picture'
import { Sample } from './source/sample'
import type { Source } from './source/source'
import { button, element } from './ui/dom'
import type { Stage } from './ui/stage'
import type { Remedies } from './ui/status'

export interface SourcesHost {
  /** Another source takes the place of the one before; null while one is being opened. */
  onSource(source: Source | null): void
  /** A source cannot be had; these are the ways on. */
  onSourceFailure(failure: AppFailure, remedies: Remedies): void
  /** The source goes on to show something else. */
  onSceneLeft(): void
  /** The user wants to choose a picture. */
  onGallery(): void
  /** In AR: the pin to ask about is another; said in words. */
  onAim(words: string): void
}

export class Sources {
  current: Source | null = null
  /** Whether the camera, or AR, was tried last and did not come. */
  cameraFailed = false
  /** Sources that were opened or are being opened: of two, the later one counts. */
  private openings = 0
  private facing: Facing = 'environment'

  constructor(
    private readonly stage: Stage,
    private readonly host: SourcesHost,
  ) {
    button('camera').addEventListener('click', () => void this.openCamera())
    button('ar').addEventListener('click', () => void this.startAr())
    button('place').addEventListener('click', () => this.current?.placePin?.())
    button('flip').addEventListener('click', () => {
      this.facing = this.facing === 'environment' ? 'user' : 'environment'
      void this.openCamera()
    })
  }

  async openCamera(): Promise<void> {
    const opening = ++this.openings
    this.cameraFailed = false
    this.use(null)
    try {
      const { video, still } = this.stage
      const camera = await Camera.open(video, still, this.facing, () => this.cameraEnded())
      if (opening === this.openings) await camera.show()
      if (opening === this.openings) this.use(camera)
      else camera.close()
    } catch (error) {
      if (opening === this.openings) this.cameraMissing(asFailure(error))
      return
    }
    button('flip').hidden = (await Camera.count()) < 2
  }

  /** Whether the picture, or the first one of a clip, is shown. */
  async openPicture(file: Blob): Promise<boolean> {
    try {
      const picture = await Picture.open(file, this.stage.still)
      this.openings++
      this.use(picture)
      return true
    } catch (error) {
      this.pictureMissing(error)
      return false
    }
  }

  async openSample(): Promise<void> {
    const opening = ++this.openings
    try {
      const sample = await Sample.open(this.stage.still, () => this.host.onSceneLeft())
      if (opening !== this.openings) return sample.close()
      this.use(sample)
      sample.show()
      this.stage.layout()
    } catch (error) {
      if (opening === this.openings) this.pictureMissing(error)
    }
  }

  /** What was given instead of a picture is none. */
  pictureMissing(error: unknown): void {
    const remedies = { picture: () => this.host.onGallery(), close: () => undefined }
    this.host.onSourceFailure(asFailure(error, 'picture'), remedies)
  }

  /** No source, and no camera that is on. */
  stop(): void {
    this.openings++
    this.use(null)
  }

  /** Shows the way into AR where the browser has it. */
  async offerAr(): Promise<void> {
    const xr = navigator.xr
    const offered = xr ? await xr.isSessionSupported('immersive-ar').catch(() => false) : false
    button('ar').hidden = !offered
  }

  private cameraEnded(): void {
    if (this.current?.kind === 'camera') void this.openCamera()
  }

  private use(source: Source | null): void {
    const before = this.current
    this.current = source
    if (before !== source) before?.close()
    if (source?.kind === 'picture') this.stage.still.hidden = false
    this.host.onSource(source)
  }

  private cameraMissing(failure: AppFailure): void {
    this.cameraFailed = true
    this.host.onSourceFailure(failure, {
      retry: () => void this.openCamera(),
      sample: () => void this.openSample(),
      picture: () => this.host.onGallery(),
    })
  }

  private async startAr(): Promise<void> {
    const { ArSource } = await import('./ar/ar_source')
    const root = element('app', HTMLElement)
    this.openings++
    try {
      this.use(null)
      this.use(
        await ArSource.start(root, this.stage, {
          onAim: (words) => this.host.onAim(words),
          onEnd: () => {
            if (this.current?.kind === 'ar') void this.openCamera()
          },
        }),
      )
    } catch (error) {
      this.cameraFailed = true
      this.host.onSourceFailure(asFailure(error, 'ar'), { close: () => void this.openCamera() })
    }
  }
}
