/** The prompt of one question about one tile, as the model was trained on it. */

import type { Manifest, PromptTemplate } from '../bundle/manifest'
import { Failure } from '../failure'
import type { Tokenizer } from './tokenizer'

const MARKER = /<[^<>\s]+>/g
const MAX_QUESTION = 500

/** A prompt's ids, and how many of them come before the question: up to the end of the image. */
export interface Prompt {
  readonly ids: readonly number[]
  readonly prefix: number
}

/** The strings that are control tokens: a question must not hold one. */
export function reservedStrings(template: PromptTemplate): string[] {
  const parts = [template.user_start, template.user_end, template.assistant_start, template.assistant_end]
  const markers = parts.flatMap((part) => part.match(MARKER) ?? [])
  return [...new Set([...markers, template.image_start, template.image_context, template.image_end, '<image>'])]
}

/** @throws {Failure} `prompt` for an empty question, a very long one, or one that holds a control token. */
export function checkQuestion(template: PromptTemplate, question: string): string {
  const text = question.trim().replace(/\s+/g, ' ')
  if (text === '') throw new Failure('prompt', 'Type a question first.')
  if (text.length > MAX_QUESTION) throw new Failure('prompt', `Ask in at most ${MAX_QUESTION} characters.`)
  const reserved = reservedStrings(template).find((marker) => text.includes(marker))
  if (reserved !== undefined) throw new Failure('prompt', `A question cannot contain ${reserved}.`)
  return text
}

/** @throws {Failure} `prompt` unless `ids` hold the control tokens of `blank`, the same without `text`. */
function refuseControlTokens(tokenizer: Tokenizer, what: string, text: string, ids: number[], blank: number[]): void {
  // What stands for an unknown character is no sign that its name was written.
  const names = (list: readonly number[]) =>
    list.flatMap((id) => tokenizer.controlTokens.get(id) ?? []).filter((name) => name !== tokenizer.unknown)
  const written = [...tokenizer.controlTokens.values()].find((name) => text.includes(name))
  // Compared as ids too, because a tokenizer also finds tokens in its normalised form of a text.
  if (written === undefined && names(ids).join('\n') === names(blank).join('\n')) return
  const token = written ?? names(tokenizer.encode(text))[0] ?? 'a control token'
  throw new Failure('prompt', `A ${what} cannot contain ${token}.`)
}

/**
 * Encodes the prompt as a whole, because a tokenizer may treat the beginning of a text differently, and looks up where
 * the image ends in it. `room` is how many tokens of an answer must fit behind it.
 *
 * @throws {Failure} `prompt` when the question is refused or does not fit the context, `model` when the tokenizer does
 *   not give the image tokens or the first token that the graphs were folded for.
 */
export function buildPrompt(manifest: Manifest, tokenizer: Tokenizer, question: string, room = 1): Prompt {
  const { prompt: template, tiles, ids: known, context } = manifest
  const image = template.image_start + template.image_context.repeat(tiles.tokens) + template.image_end
  const text = checkQuestion(template, question)
  const whole = (question: string) =>
    tokenizer.encode(template.user_start + image + question + template.user_end + template.assistant_start)
  const ids = whole(text)
  refuseControlTokens(tokenizer, 'question', text, ids, whole(''))
  if (ids[0] !== known.first) {
    throw new Failure('model', `The prompt begins with token ${ids[0]}, the model was folded for ${known.first}.`)
  }
  const images = ids.filter((id) => id === known.image).length
  if (images !== tiles.tokens) {
    throw new Failure('model', `The prompt has ${images} image tokens, the model gives ${tiles.tokens}.`)
  }
  if (ids.length + room > context) {
    const needed = ids.length + room - 1
    throw new Failure('prompt', `The question is too long: ${needed} tokens, and the model holds ${context}.`)
  }
  return { ids, prefix: ids.lastIndexOf(known.image) + 1 }
}

/**
 * The ids of a choice as the beginning of an answer, after the template's words before one; where these change with what
 * follows, those of the choice by itself.
 *
 * @throws {Failure} `prompt` for a choice that holds a control token.
 */
export function answerIds({ prompt: { assistant_start: start } }: Manifest, tokenizer: Tokenizer, choice: string): number[] {
  const before = tokenizer.encode(start)
  const ids = tokenizer.encode(start + choice)
  refuseControlTokens(tokenizer, 'choice', choice, ids, before)
  return before.every((id, n) => ids[n] === id) ? ids.slice(before.length) : tokenizer.encode(choice)
}
