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
import type { AppFailure } from './failure'
import type { Entry } from './history/history'
import { Past } from './history/past'
import { text } from './i18n/text'
import { AnswerLoop, type LoopHost } from './loop'
import { keepOffline } from './offline'
import type { Preferences } from './preferences'
import { Presets } from './presets'
import { isClip } from './source/clip'
import { Incoming } from './source/incoming'
import { SceneWatch } from './source/scene'
import type { Source } from './source/source'
import { Sources, type SourcesHost } from './sources'
import { Announcer } from './ui/announcer'
import { aimWords } from './ui/crop_controls'
import { button, element } from './ui/dom'
import { Info } from './ui/info'
import { MemoryMeter } from './ui/memory'
import { Panel } from './ui/panel'
import { Stage } from './ui/stage'
import { type Remedies, Status } from './ui/status'
import { UserSettings } from './user_settings'
import { verdictOf } from './verdict'
import { Gallery } from './welcome/gallery'
import { beginning, rememberCamera, type Way } from './welcome/start'
import { Welcome } from './welcome/welcome'

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
  private readonly presets: Presets
  private readonly announcer = new Announcer((words) => this.status.say(words))
  private readonly scene = new SceneWatch()
  private readonly loop = new AnswerLoop(this)
  private readonly welcome = new Welcome((way) => this.enter(way))
  private readonly gallery = new Gallery({
    onPicture: (picture) => void this.openPicture(picture),
    onNoPicture: (error) => this.sources.pictureMissing(error),
    onSample: () => this.enter('sample'),
  })
  private readonly past = new Past({
    onReopen: (entry) => void this.reopen(entry),
    onNew: () => this.startAfresh(),
    onSaid: (words) => this.status.say(words),
    shown: (question) => this.presets.shown(question),
  })
  private readonly memory = new MemoryMeter((memory) => {
    this.panel.remember(memory)
    this.info.remember(memory)
  })
  /** An earlier answer that is shown again: nothing is asked until the user does. */
  private reopened: Entry | null = null
  private model: Model | null = null
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
    this.presets = new Presets(config.presets)
    this.question = this.presets.questions[0] ?? ''
    this.panel.show(config.title, this.presets.questions)
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

  /** Writes what the page's own elements do not name in the language in use. */
  private nameAll(): void {
    this.panel.name((question) => this.presets.shown(question))
    this.info.refresh()
    this.past.name()
    this.stage.layout()
    this.again()
  }

  /** Loads the model while the user chooses what it is to look at; then answers until the page is left. */
  async start(): Promise<void> {
    void this.loop.run()
    const way = await beginning(new URLSearchParams(location.search))
    if (way) this.enter(way)
    await Promise.all([this.loadModel(), this.sources.offerAr()])
  }

  /** The user, the page's address or the last visit says what to look at. */
  private enter(way: Way): void {
    if (way === 'picture') return this.gallery.open()
    if (way === 'sample') return void this.sources.openSample()
    this.welcome.leave()
    void this.sources.openCamera()
  }

  private get source(): Source | null {
    return this.sources.current
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
      this.model = await load('./bundle/', {
        ...this.options,
        tileSize: this.settings.tileChoice ?? this.options.tileSize,
        onProgress,
      })
    } catch (error) {
      this.modelFailed(asFailure(error))
      return
    }
    const { info } = this.model
    this.ready = true
    this.tile = info.tile
    this.info.show(info)
    this.welcome.ready(info.knows)
    this.settings.offer(info)
    this.status.isLoading = false
    const cause = text(`cause.${info.cause}`) + (info.detail && ` (${info.detail})`)
    this.status.hint('hint', info.fellBack ? 'loading.fell-back' : null, { cause })
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
    this.status.hint('hint-source', null)
    if (!source) return this.loop.pause()
    this.status.dismiss('source')
    if (source.kind === 'camera') rememberCamera()
    this.welcome.leave()
    this.begin()
  }

  /** The sample goes on to its next thing. */
  onSceneLeft(): void {
    this.stage.label.forget()
    this.again()
  }

  onGallery(): void {
    this.gallery.open()
  }

  /** A picture, or a clip's first one, of which `others` came with it. */
  private async openPicture(picture: Blob, others = 0): Promise<void> {
    if (!(await this.sources.openPicture(picture))) return
    this.gallery.close()
    if (others > 0) this.status.hint('hint-source', 'source.several', { n: others + 1 })
    else if (isClip(picture)) this.status.hint('hint-source', 'source.clip')
  }

  /** Shows the picture of an earlier answer, which can be asked about further. */
  private async reopen(entry: Entry): Promise<void> {
    const picture = await entry.picture
    this.stage.aim.isWhole = true // the picture is what the model saw then
    this.reopened = entry
    this.question = entry.question
    if (await this.sources.openPicture(picture)) this.status.say(text('spoken.reopened'))
    else this.reopened = null
  }

  onSourceFailure(failure: AppFailure, remedies: Remedies): void {
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
    this.past.forgetConversation()
  }

  /** Controls are alive where they do something, and there is always a way to the camera. */
  private refresh(): void {
    const kind = this.source?.kind
    const isReady = this.ready && kind !== undefined
    this.panel.allow(isReady, isReady && kind !== 'picture')
    button('camera').hidden = kind === 'camera' || (kind === undefined && !this.sources.cameraFailed)
    if (this.broken || kind) return
    if (this.sources.cameraFailed) this.status.set('state.no-camera', 'bad')
    else this.status.set('state.camera', 'busy')
    if (this.ready) this.stage.state = this.sources.cameraFailed ? 'stopped' : 'ready'
  }

  // --- what the user does -------------------------------------------------------------------------------------------

  private listen(): void {
    new Incoming({
      onFile: (file, others) => void this.openPicture(file, others),
      onNothing: (failure) => this.sources.pictureMissing(failure),
    })
    button('again').addEventListener('click', () => {
      this.sources.stop()
      this.info.close()
      this.welcome.show()
    })
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.loop.pause()
      else this.begin()
    })
  }

  private choose(question: string): void {
    this.question = question
    this.reopened = null
    this.panel.choose(question)
    this.panel.showsAll = false
    this.begin()
  }

  private askAll(): void {
    if (!this.source || !this.ready) return
    if (this.source.kind !== 'picture') this.hold(true)
    this.reopened = null
    this.panel.showsAll = true
    this.loop.pause()
    this.loop.ask(...this.presets.questions)
  }

  /** Asks anew, for the answer may be another one. */
  private again(): void {
    this.forget()
    this.begin()
  }

  private togglePause(): void {
    if (!this.source || this.source.kind === 'picture') return
    this.panel.showsAll = false
    this.past.forgetConversation()
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

  /** Forgets the conversation, and keeps the picture. */
  private startAfresh(): void {
    this.past.forgetConversation()
    this.stage.label.clear()
    this.status.dismiss('question')
    this.status.say(text('spoken.fresh'))
    element('question', HTMLInputElement).focus()
  }

  /** Whether what is asked about stays as it is, so that a question may refer to the one before. */
  private get isHeld(): boolean {
    return this.paused || this.source?.kind === 'picture'
  }

  /** Starts, or starts again with what is chosen now. */
  private begin(): void {
    if (!this.ready || !this.source) return
    if (this.reopened) return this.showAgain(this.reopened)
    if (this.isHeld) {
      this.loop.pause()
      this.loop.ask(this.question)
    } else this.loop.startLive(this.question)
  }

  /** An earlier answer as it was given. */
  private showAgain(entry: Entry): void {
    const { question, verdict } = entry
    this.loop.pause()
    this.panel.choose(question)
    this.stage.label.begin(this.presets.shown(question))
    this.stage.label.finish(verdict)
    this.past.resume(entry)
  }

  // --- what the loop says -------------------------------------------------------------------------------------------

  async grab(): Promise<Frame | null> {
    const square = this.stage.square()
    const frame = square && this.source ? await this.source.grab(square) : null
    if (frame) this.past.keep(frame)
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
  ): Promise<ModelAnswer> {
    if (!this.model) throw new Error('no model')
    const { maxTokens, tileSize } = this.settings
    const { sampling } = this.config
    const preset = this.presets.of(question)
    const prompt = this.settings.prompt(question)
    const turns = this.isHeld ? (preset ? [] : this.past.before(prompt)) : undefined
    return this.model.ask(frame, prompt, { ...preset?.form, maxTokens, tileSize, sampling, turns, signal, onText })
  }

  onStart(question: string): void {
    this.status.dismiss('question')
    this.stage.state = 'looking'
    this.status.set(this.loop.isLive ? 'state.live' : 'state.answering', 'live')
    this.panel.choose(question)
    this.stage.label.begin(this.presets.shown(question))
  }

  onText(_question: string, text: string, timing: Timing): void {
    this.stage.state = 'answering'
    this.stage.label.stream(text)
    this.panel.meter(timing, false)
  }

  onAnswer(question: string, answer: ModelAnswer): void {
    // Words that a pattern asks for are not the model's own: how likely it held them says nothing.
    const free = this.presets.of(question)?.form === undefined
    const verdict = verdictOf(free ? answer : { ...answer, confidence: null }, this.config.leastConfidence)
    this.scene.keep()
    this.stage.label.finish(verdict)
    this.panel.answer(question, verdict)
    this.panel.meter(answer, true)
    this.memory.answered(answer.memory)
    const isTurn = this.isHeld && !this.panel.showsAll
    this.past.note({ question, prompt: this.settings.prompt(question), answer, verdict, isLive: this.loop.isLive, isTurn })
    this.tile = answer.tile
    this.info.sees(answer.tile)
    this.announcer.answered(this.presets.shown(question), verdict, this.loop.isLive)
    // For pages that embed the app, and for its tests.
    const detail = { question, isSure: verdict.isSure, ...answer }
    document.dispatchEvent(new CustomEvent('phantom-edge:answer', { detail }))
  }

  onFailure(failure: Failure): void {
    if (failure.code === 'conversation') {
      this.status.fail('question', failure, { fresh: () => this.startAfresh() })
      return
    }
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
