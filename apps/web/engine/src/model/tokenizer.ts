/** Text to ids and back, over Hugging Face's tokenizers library and the bundle's tokenizer.json. */

import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'

import { Failure } from '../failure'

const UNFINISHED = /\ufffd+$/
const WRITTEN_AS_MARKER = /^<[^<>\s]+>$/

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
}

interface TokenizerJson {
  readonly added_tokens?: readonly AddedToken[]
  readonly model: { readonly unk_token?: string | null }
  readonly decoder?: unknown
}

export class Tokenizer {
  private constructor(
    private readonly inner: HuggingFaceTokenizer,
    /** Added tokens that no user's text may bring, by id: special ones, and what is written `<so>`. */
    readonly controlTokens: ReadonlyMap<number, string>,
    /** The token that stands for characters without one of their own. */
    readonly unknown: string | null,
    /** The `decoder` of the JSON: how tokens become text. */
    readonly decoder: unknown,
  ) {}

  /** @throws {Failure} `damaged` when the JSON is not a tokenizer. */
  static fromJson(json: unknown): Tokenizer {
    try {
      const inner = new HuggingFaceTokenizer(json as object, { clean_up_tokenization_spaces: false })
      const { added_tokens: added = [], model, decoder } = json as TokenizerJson
      const control = added.filter(({ content, special }) => special || WRITTEN_AS_MARKER.test(content))
      const names = new Map(control.map(({ id, content }) => [id, content]))
      return new Tokenizer(inner, names, model.unk_token ?? null, decoder)
    } catch (error) {
      throw new Failure('damaged', `The bundle's tokenizer cannot be read: ${String(error)}`)
    }
  }

  encode(text: string): number[] {
    return this.inner.encode(text, { add_special_tokens: false }).ids
  }

  /** A token as the vocabulary writes it; undefined for an id without one. */
  token(id: number): string | undefined {
    return this.inner.id_to_token(id)
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
