/** The app: sources, model, loop and views, put together. */

import {
  type Answer,
  asFailure,
  type Check,
  type Failure,
  type Frame,
  type LoadOptions,
  ModelClient,
  type ModelInfo,
  type Timing,
} from 'phantom-edge-web'

import { type AppConfig, shownQuestion } from './config'
import { language, text, TEXTS } from './i18n/text'
import { AnswerLoop, type LoopHost } from './loop'
import { keepOffline } from './offline'
import type { Preferences } from './preferences'
import { SceneWatch } from './source/scene'
import type { Source } from './source/source'
import { Sources, type SourcesHost } from './sources'
import { Announcer } from './ui/announcer'
import { aimWords } from './ui/crop_controls'
import { button, element } from './ui/dom'
import { Info } from './ui/info'
import { Panel } from './ui/panel'
import { Stage } from './ui/stage'
import { type Remedies, Status } from './ui/status'
import { UserSettings } from './user_settings'
import { verdictOf } from './verdict'

export class App implements LoopHost, SourcesHost {
  private readonly status = new Status()
  private readonly stage = new Stage(element('panel', HTMLElement), () => this.onAim(aimWords(this.stage.aim)))
  private readonly sources = new Sources(this.stage, this)
  private readonly panel = new Panel({
    onQuestion: (question) => this.choose(question),
    onAll: () => this.askAll(),
    onPause: () => this.togglePause(),
    digitKeys: () => this.settings.digitKeys,
  })
  private readonly info = new Info({ onTest: (onCheck) => this.selfTest(onCheck) })
  private readonly settings: UserSettings
  private readonly announcer = new Announcer((words) => this.status.say(words))
  private readonly scene = new SceneWatch()
  private readonly loop = new AnswerLoop(this)
  private model: ModelClient | null = null
  private ready = false
  private broken = false
  private question: string
  /** How finely the model looks: as loaded, or as in the last answer. */
  private tile = 0
  /** Whether the user stopped the picture; one from a file never moves. */
  private paused = false

  constructor(
    private readonly config: AppConfig,
    chosen: Preferences,
    private readonly options: LoadOptions,
  ) {
    this.question = this.presets[0] ?? ''
    this.panel.show(config.title, this.presets)
    this.panel.choose(this.question)
    this.stage.aim.startWith(config.crop)
    this.settings = new UserSettings(config, chosen, {
      onLanguage: () => this.nameAll(),
      onAnswering: () => this.again(),
      onSaid: (words) => this.status.say(words),
    })
    this.nameAll()
    this.listen()
  }

  /** The questions to choose from. */
  private get presets(): string[] {
    return this.config.presets.map(({ question }) => question)
  }

  /** What is shown and said of a question in the language in use. */
  private readonly shown = (question: string): string => {
    const preset = this.config.presets.find((one) => one.question === question)
    return preset ? shownQuestion(preset, language()) : question
  }

  /** Writes what the page's own elements do not name in the language in use. */
  private nameAll(): void {
    this.panel.name(this.shown)
    this.info.refresh()
    this.stage.layout()
    this.again()
  }

  /**
   * Loads the model and opens the camera, side by side; then answers until the page is left. `missing` is a language that
   * the address names and the app does not speak.
   */
  async start(missing: string | null): Promise<void> {
    const languages = this.config.languages.map((one) => TEXTS[one]['language.name']).join(', ')
    if (missing !== null) this.status.hint('hint-language', 'language.missing', { tag: missing.slice(0, 20), languages })
    void this.loop.run()
    await Promise.all([this.loadModel(), this.sources.openCamera(), this.sources.offerAr()])
  }

  private get source(): Source | null {
    return this.sources.current
  }

  // --- model --------------------------------------------------------------------------------------------------------

  private async loadModel(): Promise<void> {
    this.model?.close()
    this.broken = false
    this.stage.state = 'loading'
    this.status.isLoading = true
    this.model = new ModelClient((progress) => {
      if (!this.ready) this.status.progress(progress)
    })
    let info: ModelInfo
    try {
      info = await this.model.load({ ...this.options, tile: this.settings.tileChoice ?? this.options.tile ?? null })
    } catch (error) {
      this.modelFailed(asFailure(error))
      return
    }
    this.ready = true
    this.tile = info.tile
    this.info.show(info)
    this.settings.offer(info)
    this.status.isLoading = false
    this.status.hint('hint', info.fellBack ? 'loading.fell-back' : null, { cause: text(`cause.${info.cause}`) })
    this.refresh()
    this.status.say(text('spoken.ready'))
    this.begin()
    this.info.offline(await keepOffline(info.runtimeFiles))
  }

  private modelFailed(failure: Failure): void {
    this.ready = false
    this.broken = true
    this.refresh()
    this.loop.pause()
    this.stage.state = 'stopped'
    this.status.set('state.stopped', 'bad')
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

  onSource(source: Source | null): void {
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

  onSourceFailure(failure: Failure, remedies: Remedies): void {
    this.refresh()
    this.status.fail('source', failure, remedies)
  }

  /** The pin has moved, or the square is another: the old answers were about another part. */
  onAim(words: string): void {
    this.forget()
    this.status.say(words)
    this.begin()
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
    button('camera').hidden = !(kind === 'picture' || kind === 'ar' || this.sources.cameraFailed)
    if (this.broken || kind) return
    if (this.sources.cameraFailed) this.status.set('state.no-camera', 'bad')
    else this.status.set('state.camera', 'busy')
    if (this.ready) this.stage.state = this.sources.cameraFailed ? 'stopped' : 'ready'
  }

  // --- what the user does -------------------------------------------------------------------------------------------

  private listen(): void {
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

  private askAll(): void {
    if (!this.source || !this.ready) return
    if (this.source.kind !== 'picture') this.hold(true)
    this.panel.showsAll = true
    this.loop.pause()
    this.loop.ask(...this.presets)
  }

  /** Asks anew, for the answer may be another one. */
  private again(): void {
    this.forget()
    this.begin()
  }

  private togglePause(): void {
    if (!this.source || this.source.kind === 'picture') return
    this.panel.showsAll = false
    this.hold(!this.paused)
    if (this.paused) this.loop.pause()
    else this.begin()
    this.status.say(text(this.paused ? 'spoken.paused' : 'spoken.resumed'))
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
    if (!frame && this.source?.kind === 'ar') this.status.set('state.place', 'calm')
    return frame
  }

  ask(
    frame: Frame,
    question: string,
    signal: AbortSignal,
    onText: (text: string, timing: Timing) => void,
  ): Promise<Answer & { memory: number }> {
    if (!this.model) throw new Error('no model')
    const { maxTokens, tileSize } = this.settings
    const { sampling } = this.config
    const form = this.config.presets.find((preset) => preset.question === question)?.form
    return this.model.ask(frame, this.settings.prompt(question), { maxTokens, tileSize, sampling, form }, signal, onText)
  }

  onStart(question: string): void {
    this.status.dismiss('question')
    this.stage.state = 'looking'
    this.status.set(this.loop.isLive ? 'state.live' : 'state.answering', 'live')
    this.panel.choose(question)
    this.stage.label.begin(this.shown(question))
  }

  onText(_question: string, text: string, timing: Timing): void {
    this.stage.state = 'answering'
    this.stage.label.stream(text)
    this.panel.meter(timing, null)
  }

  onAnswer(question: string, answer: Answer & { memory: number }): void {
    const verdict = verdictOf(answer, this.config.leastConfidence)
    this.scene.keep()
    this.stage.label.finish(verdict)
    this.panel.answer(question, verdict)
    this.panel.meter(answer, answer.memory + pageBytes())
    this.tile = answer.tile
    this.info.sees(answer.tile)
    this.announcer.answered(this.shown(question), verdict, this.loop.isLive)
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
    if (failure.code === 'network' && this.settings.tileSize !== undefined && this.settings.tileSize !== this.tile) {
      this.settings.keepTile(this.tile)
      this.status.fail('question', failure, { close: () => this.begin() })
      return
    }
    this.modelFailed(failure)
  }

  onIdle(): void {
    if (!this.ready || !this.source) return
    this.stage.state = 'paused'
    this.status.set(this.source.kind === 'picture' ? 'state.picture' : 'state.paused', 'calm')
  }
}

/** Bytes of the page's own objects, where the browser tells. */
function pageBytes(): number {
  const { memory } = performance as { memory?: { usedJSHeapSize: number } }
  return memory?.usedJSHeapSize ?? 0
}
