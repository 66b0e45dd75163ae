/** Text to ids and back, over Hugging Face's tokenizers library and the bundle's tokenizer.json. */

import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'

import { Failure } from '../failure'

const UNFINISHED = /\ufffd+$/

export class Tokenizer {
  private constructor(private readonly inner: HuggingFaceTokenizer) {}

  /** @throws {Failure} `damaged` when the JSON is not a tokenizer. */
  static fromJson(json: unknown): Tokenizer {
    try {
      return new Tokenizer(new HuggingFaceTokenizer(json as object, { clean_up_tokenization_spaces: false }))
    } catch (error) {
      throw new Failure('damaged', `The bundle's tokenizer cannot be read: ${String(error)}`)
    }
  }

  encode(text: string): number[] {
    return this.inner.encode(text, { add_special_tokens: false }).ids
  }

  /** The text of an answer's ids, without special tokens. */
  decode(ids: readonly number[]): string {
    if (ids.length === 0) return '' // the library refuses an empty list; an answer may be one
    return this.inner.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false })
  }

  /** The text that is certain while an answer grows: without a last character whose bytes are not all there yet. */
  decodeSoFar(ids: readonly number[]): string {
    return this.decode(ids).replace(UNFINISHED, '')
  }
}
