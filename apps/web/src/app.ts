/** The app: sources, model, loop and views, put together. */

import {
  asFailure,
  type Check,
  type Failure,
  type Frame,
  load,
  type LoadOptions,
  type Model,
  type ModelAnswer,
  type Progress,
  type Timing,
} from 'phantom-edge-web'

import type { AppConfig } from './config'
import { AnswerLoop, type LoopHost } from './loop'
import { keepOffline } from './offline'
import { rememberDigitKeys, rememberedDigitKeys, rememberTileSize } from './preferences'
import { Camera, type Facing } from './source/camera'
import { Picture } from './source/picture'
import { SceneWatch } from './source/scene'
import type { Source } from './source/source'
import { Announcer } from './ui/announcer'
import { aimWords } from './ui/crop_controls'
import { button, element } from './ui/dom'
import { Info } from './ui/info'
import { Panel } from './ui/panel'
import { Stage } from './ui/stage'
import { Status } from './ui/status'
import { verdictOf } from './verdict'

export class App implements LoopHost {
  private readonly status = new Status()
  private readonly stage = new Stage(element('panel', HTMLElement), () => this.aimed())
  private readonly panel = new Panel({
    onQuestion: (question) => this.choose(question),
    onAll: () => this.askAll(),
    onPause: () => this.togglePause(),
  })
  private readonly info = new Info({
    onTest: (onCheck) => this.selfTest(onCheck),
    onTileSize: (size) => this.chooseTileSize(size),
    onDigitKeys: (on) => this.useDigitKeys(on),
  })
  private readonly announcer = new Announcer((words) => this.status.say(words))
  private readonly scene = new SceneWatch()
  private readonly loop = new AnswerLoop(this)
  private readonly file = element('file', HTMLInputElement)
  private model: Model | null = null
  private ready = false
  private broken = false
  private source: Source | null = null
  /** Sources that were opened or are being opened: of two, the later one counts. */
  private openings = 0
  private cameraFailed = false
  private facing: Facing = 'environment'
  private question: string
  /** How finely the model looks: as loaded, or as in the last answer. */
  private tile = 0
  /** Whether the user stopped the picture; one from a file never moves. */
  private paused = false

  constructor(
    private readonly config: AppConfig,
    private readonly options: LoadOptions,
  ) {
    this.question = this.presets[0] ?? ''
    this.panel.show(config.title, this.presets)
    this.panel.choose(this.question)
    this.info.maxTokens = config.longestAnswer
    this.useDigitKeys(rememberedDigitKeys())
    this.listen()
  }

  /** The questions to choose from. */
  private get presets(): string[] {
    return this.config.presets.map(({ question }) => question)
  }

  /** Loads the model and opens the camera, side by side; then answers until the page is left. */
  async start(): Promise<void> {
    void this.loop.run()
    await Promise.all([this.loadModel(), this.openCamera(), this.offerAr()])
  }

  // --- model --------------------------------------------------------------------------------------------------------

  private async loadModel(): Promise<void> {
    this.model?.close()
    this.model = null
    this.broken = false
    this.stage.state = 'loading'
    this.status.isLoading = true
    const onProgress = (progress: Progress) => this.status.progress(progress)
    try {
      this.model = await load('./bundle/', { ...this.options, tileSize: this.tileChoice(), onProgress })
    } catch (error) {
      this.modelFailed(asFailure(error))
      return
    }
    const { info } = this.model
    this.ready = true
    this.tile = info.tile
    this.info.show(info)
    this.status.isLoading = false
    this.status.hint(info.fellBack ? `It runs on the CPU, which is slower: ${info.reason}.` : '')
    this.refresh()
    this.status.say('The model is ready.')
    this.begin()
    this.info.offline(await keepOffline(info.runtimeFiles))
  }

  /** What the user chose, also when the model is loaded again. */
  private tileChoice(): LoadOptions['tileSize'] {
    const size = this.info.tileSize
    return size === undefined ? this.options.tileSize : { size, required: false }
  }

  private modelFailed(failure: Failure): void {
    this.ready = false
    this.broken = true
    this.refresh()
    this.loop.pause()
    this.stage.state = 'stopped'
    this.status.set('Stopped', 'bad')
    this.status.fail('model', failure, { retry: () => void this.loadModel() })
  }

  private async selfTest(onCheck: (check: Check) => void): Promise<void> {
    const wasLive = this.loop.isLive
    this.loop.pause()
    try {
      await this.model?.selfTest(onCheck)
    } finally {
      if (wasLive) this.begin()
    }
  }

  // --- sources ------------------------------------------------------------------------------------------------------

  private async openCamera(): Promise<void> {
    const opening = ++this.openings
    this.cameraFailed = false
    this.use(null)
    if (!this.ready && !this.broken) this.status.set('Waiting for the camera', 'busy')
    try {
      const { video, still } = this.stage
      const camera = await Camera.open(video, still, this.facing, () => this.cameraEnded())
      if (opening === this.openings) await camera.show()
      if (opening === this.openings) this.use(camera)
      else camera.close()
    } catch (error) {
      if (opening === this.openings) this.sourceFailed(asFailure(error))
      return
    }
    button('flip').hidden = (await Camera.count()) < 2
  }

  private cameraEnded(): void {
    if (this.source?.kind === 'camera') void this.openCamera()
  }

  private async openPicture(file: Blob): Promise<void> {
    try {
      const picture = await Picture.open(file, this.stage.still)
      this.openings++
      this.use(picture)
    } catch (error) {
      this.status.fail('source', asFailure(error, 'picture'), { picture: () => this.file.click(), close: () => undefined })
    }
  }

  /** Another source takes the place of the one before. */
  private use(source: Source | null): void {
    const before = this.source
    this.source = source
    if (before !== source) before?.close()
    if (source?.kind === 'picture') this.stage.still.hidden = false
    this.paused = false
    this.panel.paused = false
    this.stage.source = source
    this.forget()
    this.refresh()
    if (source) {
      this.status.dismiss('source')
      this.begin()
    } else this.loop.pause()
  }

  /** What was answered was about something else. */
  private forget(): void {
    this.panel.forget()
    this.panel.showsAll = false
    this.scene.forget()
    this.announcer.forget()
  }

  /** Controls are alive where they do something, and there is always a way to the camera. */
  private refresh(): void {
    const kind = this.source?.kind
    const isReady = this.ready && kind !== undefined
    this.panel.allow(isReady, isReady && kind !== 'picture')
    button('camera').hidden = !(kind === 'picture' || kind === 'ar' || this.cameraFailed)
    if (this.broken || kind) return
    if (this.cameraFailed) this.status.set('No camera', 'bad')
    else if (this.ready) this.status.set('Waiting for the camera', 'busy')
    if (this.ready) this.stage.state = this.cameraFailed ? 'stopped' : 'ready'
  }

  private sourceFailed(failure: Failure): void {
    this.cameraFailed = true
    this.refresh()
    this.status.fail('source', failure, { retry: () => void this.openCamera(), picture: () => this.file.click() })
  }

  private async offerAr(): Promise<void> {
    const xr = navigator.xr
    const offered = xr ? await xr.isSessionSupported('immersive-ar').catch(() => false) : false
    button('ar').hidden = !offered
  }

  private async startAr(): Promise<void> {
    const { ArSource } = await import('./ar/ar_source')
    const root = element('app', HTMLElement)
    this.openings++
    try {
      this.use(null)
      this.use(
        await ArSource.start(root, this.stage, {
          onAim: (words) => this.aimed(words),
          onEnd: () => {
            if (this.source?.kind === 'ar') void this.openCamera()
          },
        }),
      )
    } catch (error) {
      this.cameraFailed = true
      this.refresh()
      this.status.fail('source', asFailure(error, 'ar'), { close: () => void this.openCamera() })
    }
  }

  // --- what the user does -------------------------------------------------------------------------------------------

  private listen(): void {
    button('choose').addEventListener('click', () => this.file.click())
    button('camera').addEventListener('click', () => void this.openCamera())
    button('ar').addEventListener('click', () => void this.startAr())
    button('place').addEventListener('click', () => this.source?.placePin?.())
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
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.loop.pause()
      else this.begin()
    })
  }

  private choose(question: string): void {
    this.question = question
    this.panel.choose(question)
    this.panel.showsAll = false
    this.begin()
  }

  /** The pin has moved, or the square is another: the old answers were about another part. */
  private aimed(words = aimWords(this.stage.aim)): void {
    this.forget()
    this.status.say(words)
    this.begin()
  }

  private askAll(): void {
    if (!this.source || !this.ready) return
    if (this.source.kind !== 'picture') this.hold(true)
    this.panel.showsAll = true
    this.loop.pause()
    this.loop.ask(...this.presets)
  }

  private chooseTileSize(size: number): void {
    rememberTileSize(size)
    this.forget()
    this.begin()
  }

  private useDigitKeys(on: boolean): void {
    rememberDigitKeys(on)
    this.panel.digitKeys = on
    this.info.digitKeys = on
  }

  private togglePause(): void {
    if (!this.source || this.source.kind === 'picture') return
    this.panel.showsAll = false
    this.hold(!this.paused)
    if (this.paused) this.loop.pause()
    else this.begin()
    this.status.say(this.paused ? 'Paused. The picture is held.' : 'Resumed.')
  }

  private hold(paused: boolean): void {
    this.paused = paused
    this.panel.paused = paused
    if (paused) this.source?.freeze()
    else this.source?.thaw()
  }

  /** Starts, or starts again with what is chosen now. */
  private begin(): void {
    if (!this.ready || !this.source) return
    if (this.paused || this.source.kind === 'picture') {
      this.loop.pause()
      this.loop.ask(this.question)
    } else this.loop.startLive(this.question)
  }

  // --- what the loop says -------------------------------------------------------------------------------------------

  async grab(): Promise<Frame | null> {
    const square = this.stage.square()
    const frame = square && this.source ? await this.source.grab(square) : null
    if (frame && this.scene.hasChanged(frame)) {
      this.stage.label.forget() // rather no answer than that of the scene before
      this.panel.forget()
    }
    if (!frame && this.source?.kind === 'ar') this.status.set('Place a pin', 'calm')
    return frame
  }

  ask(
    frame: Frame,
    question: string,
    signal: AbortSignal,
    onText: (text: string, timing: Timing) => void,
  ): Promise<ModelAnswer> {
    if (!this.model) throw new Error('no model')
    const { maxTokens, tileSize } = this.info
    const form = this.config.presets.find((preset) => preset.question === question)?.form
    return this.model.ask(frame, question, { ...form, maxTokens, tileSize, signal, onText })
  }

  onStart(question: string): void {
    this.status.dismiss('question')
    this.stage.state = 'looking'
    this.status.set(this.loop.isLive ? 'Live' : 'Answering', 'live')
    this.panel.choose(question)
    this.stage.label.begin(question)
  }

  onText(_question: string, text: string, timing: Timing): void {
    this.stage.state = 'answering'
    this.stage.label.stream(text)
    this.panel.meter(timing, null)
  }

  onAnswer(question: string, answer: ModelAnswer): void {
    const verdict = verdictOf(answer, this.config.leastConfidence)
    this.scene.keep()
    this.stage.label.finish(verdict)
    this.panel.answer(question, verdict)
    this.panel.meter(answer, answer.memory + pageBytes())
    this.tile = answer.tile
    this.info.sees(answer.tile)
    this.announcer.answered(question, verdict, this.loop.isLive)
    // For pages that embed the app, and for its tests.
    const detail = { question, isSure: verdict.isSure, ...answer }
    document.dispatchEvent(new CustomEvent('phantom-edge:answer', { detail }))
  }

  onFailure(failure: Failure): void {
    if (failure.code === 'prompt') {
      this.status.fail('question', failure, { close: () => element('question', HTMLInputElement).focus() })
      return
    }
    // The vision encoder of another size cannot be had: the model goes on with the one that it has.
    if (failure.code === 'network' && this.info.tileSize !== undefined && this.info.tileSize !== this.tile) {
      this.info.tileSize = this.tile
      rememberTileSize(this.tile)
      this.status.fail('question', failure, { close: () => this.begin() })
      return
    }
    this.modelFailed(failure)
  }

  onIdle(): void {
    if (!this.ready || !this.source) return
    this.stage.state = 'paused'
    this.status.set(this.source.kind === 'picture' ? 'Picture' : 'Paused', 'calm')
  }
}

/** Bytes of the page's own objects, where the browser tells. */
function pageBytes(): number {
  const { memory } = performance as { memory?: { usedJSHeapSize: number } }
  return memory?.usedJSHeapSize ?? 0
}
