/** When a screen reader is told of an answer: when it is new, without the question where that is known, and not too often. */

import { spoken, type Verdict } from '../verdict'

/** Milliseconds between two answers that come by themselves; what the user asked for is said at once. */
const LIVE_REST = 5000

export class Announcer {
  private question = ''
  private answer = ''
  private at = -Infinity

  constructor(
    private readonly say: (words: string) => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** An answer was given. `isLive` says that the same question is asked again and again. */
  answered(question: string, verdict: Verdict, isLive: boolean): void {
    const answer = `${verdict.isSure} ${verdict.answer}` // not the likelihood, which changes with every picture
    const isKnown = question === this.question
    if (isKnown && answer === this.answer) return
    if (isKnown && this.answer !== '' && isLive && this.now() - this.at < LIVE_REST) return
    const words = spoken(verdict)
    this.say(isKnown ? words : `${question} ${words}`)
    this.question = question
    this.answer = answer
    this.at = this.now()
  }

  /** The next answer is about something else, so it is said whatever it is. */
  forget(): void {
    this.answer = ''
  }
}
