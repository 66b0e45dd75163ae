/** Which source the pictures come from: opens the camera, a file or AR as the user says, and closes the one before. */

import { asFailure, type Failure } from 'phantom-edge-web'

import { Camera, type Facing } from './source/camera'
import { Picture } from './source/picture'
import type { Source } from './source/source'
import { button, element } from './ui/dom'
import type { Stage } from './ui/stage'
import type { Remedies } from './ui/status'

export interface SourcesHost {
  /** Another source takes the place of the one before; null while one is being opened. */
  onSource(source: Source | null): void
  /** A source cannot be had; these are the ways on. */
  onSourceFailure(failure: Failure, remedies: Remedies): void
  /** In AR: the pin to ask about is another; said in words. */
  onAim(words: string): void
}

export class Sources {
  current: Source | null = null
  /** Whether the camera, or AR, was tried last and did not come. */
  cameraFailed = false
  private readonly file = element('file', HTMLInputElement)
  /** Sources that were opened or are being opened: of two, the later one counts. */
  private openings = 0
  private facing: Facing = 'environment'

  constructor(
    private readonly stage: Stage,
    private readonly host: SourcesHost,
  ) {
    button('choose').addEventListener('click', () => this.file.click())
    button('camera').addEventListener('click', () => void this.openCamera())
    button('ar').addEventListener('click', () => void this.startAr())
    button('place').addEventListener('click', () => this.current?.placePin?.())
    button('flip').addEventListener('click', () => {
      this.facing = this.facing === 'environment' ? 'user' : 'environment'
      void this.openCamera()
    })
    this.file.addEventListener('change', () => {
      const [file] = this.file.files ?? []
      this.file.value = ''
      if (file) void this.openPicture(file)
    })
    document.addEventListener('dragover', (event) => event.preventDefault())
    document.addEventListener('drop', (event) => {
      event.preventDefault()
      const [file] = event.dataTransfer?.files ?? []
      if (file) void this.openPicture(file)
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

  async openPicture(file: Blob): Promise<void> {
    try {
      const picture = await Picture.open(file, this.stage.still)
      this.openings++
      this.use(picture)
    } catch (error) {
      this.host.onSourceFailure(asFailure(error, 'picture'), { picture: () => this.file.click(), close: () => undefined })
    }
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

  private cameraMissing(failure: Failure): void {
    this.cameraFailed = true
    this.host.onSourceFailure(failure, { retry: () => void this.openCamera(), picture: () => this.file.click() })
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
