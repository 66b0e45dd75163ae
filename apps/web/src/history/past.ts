/** What was answered so far: the history of all answers, and the conversation about the picture that is held. */

import type { Answer, Frame, Turn } from 'phantom-edge-web'

import type { Verdict } from '../verdict'
import { type Entry, History } from './history'
import { HistoryList } from './list'
import { encodePicture, Keeper } from './pixels'
import { Thread } from './thread'

export interface PastHost {
  /** Shows an answer's picture again, to ask more about it. */
  onReopen(entry: Entry): void
  /** The user wants a new conversation about the picture. */
  onNew(): void
  /** Said to who cannot see it. */
  onSaid(words: string): void
  /** What is shown of a question in the language in use. */
  shown(question: string): string
}

/** An answer, and the circumstances in which it was given. */
export interface Given {
  readonly question: string
  /** What the model was asked. */
  readonly prompt: string
  readonly answer: Answer
  readonly verdict: Verdict
  readonly isLive: boolean
  /** Whether a question that follows may refer to it. */
  readonly isTurn: boolean
}

export class Past {
  private readonly history = new History(() => this.list.changed(), encodePicture)
  private readonly list: HistoryList
  private readonly keeper = new Keeper()
  private readonly thread: Thread

  constructor(private readonly host: PastHost) {
    this.list = new HistoryList(this.history, host)
    this.thread = new Thread(() => host.onNew())
  }

  /** A picture goes to the model. */
  keep(frame: Frame): void {
    this.keeper.keep(frame)
  }

  note({ question, prompt, answer: { ids }, verdict, isLive, isTurn }: Given): void {
    const turn = { question: prompt, ids }
    this.history.add({ question, verdict, turn }, this.keeper.latest, isLive)
    if (isTurn) this.thread.add(turn, this.host.shown(question), verdict)
  }

  /** The conversation goes on from an earlier answer. */
  resume({ turn, question, verdict }: Entry): void {
    this.thread.add(turn, this.host.shown(question), verdict)
  }

  /** The turns that a question may refer to. */
  before(prompt: string): readonly Turn[] {
    return this.thread.before(prompt)
  }

  /** The picture is another, or is to be talked about anew. */
  forgetConversation(): void {
    this.thread.clear()
  }

  /** The language is another. */
  name(): void {
    this.list.changed()
  }
}
