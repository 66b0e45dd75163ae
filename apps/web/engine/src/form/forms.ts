/** The forms of one model: over its tokenizer, and kept as long as questions come back. */

import type { Manifest } from '../bundle/manifest'
import { Failure } from '../failure'
import { answerIds } from '../model/prompt'
import type { Tokenizer } from '../model/tokenizer'
import { ChoiceConstraint, ChoiceTree } from './choices'
import type { Constraint } from './constraint'
import { checkChoices, type Form } from './form'
import { RegexConstraint, RegexForm } from './regex'
import { tokenDecoder } from './token_bytes'
import { Vocabulary } from './vocabulary'

const MOST_PATTERNS = 12 // as many as an app has questions to choose from
const NOTHING = new Uint8Array(0)

export class Forms {
  private vocabulary: Vocabulary | null = null
  private readonly patterns = new Map<string, RegexForm>()

  constructor(
    private readonly manifest: Manifest,
    private readonly tokenizer: Tokenizer,
  ) {}

  /**
   * For a new answer.
   *
   * @throws {Failure} `prompt` for a form that is refused or that this model cannot write.
   */
  begin(form: Form): Constraint {
    if ('choices' in form) return new ChoiceConstraint(this.tree(form.choices))
    return new RegexConstraint(this.pattern(form.regex))
  }

  /** @throws {Failure} `prompt`, as {@link Forms.begin}. */
  tree(choices: readonly string[]): ChoiceTree {
    checkChoices(choices)
    const tokens = choices.map((choice, n) => {
      const ids = answerIds(this.manifest, this.tokenizer, choice)
      if (this.tokenizer.decode(ids) === choice) return ids
      throw new Failure('prompt', `This model's tokenizer cannot write choice ${n + 1} as it stands. Reword it.`)
    })
    return new ChoiceTree(choices, tokens, this.manifest.ids.end)
  }

  private pattern(regex: string): RegexForm {
    const known = this.patterns.get(regex)
    if (known) return known
    const pattern = new RegexForm(regex, (this.vocabulary ??= this.readVocabulary()), this.manifest.ids.end)
    if (this.patterns.size >= MOST_PATTERNS) this.patterns.clear()
    this.patterns.set(regex, pattern)
    return pattern
  }

  private readVocabulary(): Vocabulary {
    const { tokenizer, manifest } = this
    const { bytesOf, strippedSpaces } = tokenDecoder(tokenizer.decoder)
    const tokens = Array.from({ length: manifest.shape.vocabulary }, (_, id) => {
      const token = manifest.ids.end.includes(id) || tokenizer.controlTokens.has(id) ? undefined : tokenizer.token(id)
      return token === undefined ? NOTHING : bytesOf(token)
    })
    return new Vocabulary(tokens, strippedSpaces)
  }
}
