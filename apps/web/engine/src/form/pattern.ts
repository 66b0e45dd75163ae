/**
 * Regular expressions of an answer: one dialect in all languages, without what needs more than linear time. What it is,
 * and what is refused, is in tests/support/form_vectors.json, which every implementation runs.
 */

import { Failure } from '../failure'
import { type CharSet, complement, DIGITS, DOT, setOf, SPACE, WORD } from './char_sets'

export const MOST_CHARACTERS = 2000
export const MOST_COUNT = 1000
export const MOST_SIZE = 10_000
export const MOST_DEPTH = 100

/** A parsed pattern. A repeat without `most` has no end. */
export type Pattern =
  | { readonly kind: 'set'; readonly set: CharSet }
  | { readonly kind: 'sequence' | 'alternatives'; readonly parts: readonly Pattern[] }
  | { readonly kind: 'repeat'; readonly part: Pattern; readonly least: number; readonly most: number | null }

/** Why a pattern is refused, by kind, as the end of a sentence. */
export const REFUSALS = {
  empty: 'is empty',
  long: `has more than ${MOST_CHARACTERS} characters`,
  large: `is too large: its counts multiply to more than ${MOST_SIZE} characters`,
  deep: `has groups more than ${MOST_DEPTH} deep`,
  none: 'is one that no text matches',
  unicode: 'is not valid Unicode',
  'look-around': 'has a look-around, such as (?=…), which is not possible here',
  'back-reference': 'has a back reference, such as \\1, which is not possible here',
  lazy: 'has a lazy quantifier, such as *?; leave out its ?',
  possessive: 'has a possessive quantifier or an atomic group, such as *+ or (?>…), which is not possible here',
  flag: 'has a flag, such as (?i); write classes such as [Yy] instead',
  boundary: 'has \\b or \\B, which is not possible here',
  anchor: 'has ^ or $ elsewhere than at its beginning and end; write \\^ or \\$ for the character',
  group: 'has a ( or ) without the other, or a group other than ( ) and (?: )',
  class: 'has a [ ] that is empty, not closed, or holds a range that is none; write \\[ for the character',
  escape: 'has an escape that is none of \\d \\w \\s \\D \\W \\S \\n \\t \\r and signs such as \\.',
  count: `has a count that is not {m}, {m,} or {m,n} of up to ${MOST_COUNT}; write \\{ for the character`,
  repeat: 'has a quantifier that follows nothing or another one',
} as const
export type Refusal = keyof typeof REFUSALS

/** @throws {Failure} `prompt`, always. */
export function refuse(refusal: Refusal): never {
  throw new Failure('prompt', `The regular expression ${REFUSALS[refusal]}.`)
}

/** @throws {Failure} `prompt`, for what is not of the dialect; {@link REFUSALS} has the reasons. */
export function parsePattern(pattern: string): Pattern {
  const characters = Array.from(pattern)
  if (characters.length > MOST_CHARACTERS) refuse('long')
  if (/\p{Surrogate}/u.test(pattern)) refuse('unicode')
  return new Parser(characters).parse()
}

/** Characters of a pattern with its counts multiplied out: what an automaton for it is as large as. */
function sizeOf(pattern: Pattern): number {
  if (pattern.kind === 'set') return 1
  if (pattern.kind === 'repeat') return sizeOf(pattern.part) * Math.max(1, pattern.least, pattern.most ?? 1)
  return Math.max(
    1,
    pattern.parts.reduce((sum, part) => sum + sizeOf(part), 0),
  )
}

const CLASSES: Readonly<Record<string, CharSet>> = {
  d: DIGITS,
  w: WORD,
  s: SPACE,
  D: complement(DIGITS),
  W: complement(WORD),
  S: complement(SPACE),
}
const CONTROLS: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' }
/** Least and most repeats; null for no end. */
type Counts = readonly [least: number, most: number | null]
const QUANTIFIERS: Readonly<Record<string, Counts>> = { '?': [0, 1], '*': [0, null], '+': [1, null] }
/** What begins with `(?` and is no plain group, by what follows. */
const GROUPS: readonly (readonly [RegExp, Refusal])[] = [
  [/^<?[=!]/, 'look-around'],
  [/^>/, 'possessive'],
  [/^P=/, 'back-reference'],
  [/^[A-Za-z-]*[imsxuaLU][A-Za-z-]*[:)]/, 'flag'],
]
const LONGEST_START = 20 // characters of a group's beginning that tell what it is

class Parser {
  private at = 0
  private depth = 0

  constructor(private readonly characters: readonly string[]) {}

  parse(): Pattern {
    if (this.next === '^') this.at++
    if (this.atEnd) refuse('empty')
    const pattern = this.alternatives()
    if (this.next === ')') refuse('group')
    if (sizeOf(pattern) > MOST_SIZE) refuse('large')
    return pattern
  }

  private get next(): string | undefined {
    return this.characters[this.at]
  }

  /** Whether nothing follows, or the `$` that may be a pattern's last character. */
  private get atEnd(): boolean {
    const left = this.characters.length - this.at
    return left === 0 || (left === 1 && this.next === '$')
  }

  private alternatives(): Pattern {
    const parts = [this.sequence()]
    while (this.next === '|') {
      this.at++
      parts.push(this.sequence())
    }
    return parts.length === 1 ? parts[0] : { kind: 'alternatives', parts }
  }

  private sequence(): Pattern {
    const parts: Pattern[] = []
    while (!this.atEnd && this.next !== '|' && this.next !== ')') parts.push(this.quantified(this.atom()))
    return parts.length === 1 ? parts[0] : { kind: 'sequence', parts }
  }

  private atom(): Pattern {
    const character = this.characters[this.at++]
    switch (character) {
      case '(':
        return this.group()
      case '[':
        return { kind: 'set', set: this.charClass() }
      case '\\':
        return { kind: 'set', set: this.escape(false) }
      case '.':
        return { kind: 'set', set: DOT }
      case '^':
      case '$':
        return refuse('anchor')
      case '{':
        return refuse('count')
      case '*':
      case '+':
      case '?':
        return refuse('repeat')
      default:
        return { kind: 'set', set: single(character) }
    }
  }

  private group(): Pattern {
    if (++this.depth > MOST_DEPTH) refuse('deep')
    if (this.next === '?') {
      this.at++
      const start = this.characters.slice(this.at, this.at + LONGEST_START).join('')
      if (!start.startsWith(':')) refuse(GROUPS.find(([form]) => form.test(start))?.[1] ?? 'group')
      this.at++
    }
    const pattern = this.alternatives()
    if (this.next !== ')') refuse('group')
    this.at++
    this.depth--
    return pattern
  }

  private quantified(part: Pattern): Pattern {
    const counts = this.quantifier()
    if (!counts) return part
    if (this.next === '?') refuse('lazy')
    if (this.next === '+') refuse('possessive')
    if (this.next === '*' || this.next === '{') refuse('repeat')
    return repeated(part, ...counts)
  }

  private quantifier(): Counts | null {
    const sign = this.next ?? ''
    if (sign === '{') return this.count()
    const counts = Object.hasOwn(QUANTIFIERS, sign) ? QUANTIFIERS[sign] : null
    if (counts) this.at++
    return counts
  }

  private count(): Counts {
    const end = this.characters.indexOf('}', this.at)
    const words = /^([0-9]+)(,([0-9]*))?$/.exec(this.characters.slice(this.at + 1, Math.max(end, 0)).join(''))
    if (!words) return refuse('count')
    this.at = end + 1
    const least = Number(words[1])
    const most = words[2] === undefined ? least : words[3] === '' ? null : Number(words[3])
    if (Math.max(least, most ?? 0) > MOST_COUNT || (most !== null && most < least)) refuse('count')
    return [least, most]
  }

  /** What follows a backslash. */
  private escape(inClass: boolean): CharSet {
    const character = this.characters[this.at++] ?? ''
    if (Object.hasOwn(CLASSES, character)) return CLASSES[character]
    if (Object.hasOwn(CONTROLS, character)) return single(CONTROLS[character])
    if (/^[bB]$/.test(character)) refuse('boundary')
    if (/^[1-9k]$/.test(character) && !inClass) refuse('back-reference')
    if (/^[A-Za-z0-9]?$/.test(character)) refuse('escape')
    return single(character)
  }

  /** What follows a `[`, up to and with its `]`. */
  private charClass(): CharSet {
    const negated = this.next === '^'
    if (negated) this.at++
    if (this.next === ']') refuse('class')
    const ranges: number[] = []
    while (this.next !== ']') {
      const from = this.classPart()
      const isRange = this.next === '-' && this.characters[this.at + 1] !== ']'
      if (isRange) this.at++
      ranges.push(...(isRange ? range(from, this.classPart()) : from))
    }
    this.at++
    const set = setOf(ranges)
    return negated ? complement(set) : set
  }

  private classPart(): CharSet {
    const character = this.characters[this.at++]
    if (character === undefined || character === '[') return refuse('class')
    return character === '\\' ? this.escape(true) : single(character)
  }
}

/** A repeat; one of `?`, `*` and `+` on another is one of them, so that quantifiers alone make no automaton larger. */
function repeated(part: Pattern, least: number, most: number | null): Pattern {
  const isSimple = (least: number, most: number | null) => least <= 1 && (most === 1 || most === null)
  if (part.kind !== 'repeat' || !isSimple(least, most) || !isSimple(part.least, part.most)) {
    return { kind: 'repeat', part, least, most }
  }
  const both = most === null || part.most === null ? null : 1
  return { kind: 'repeat', part: part.part, least: Math.min(least, part.least), most: both }
}

function single(character: string): CharSet {
  const code = character.codePointAt(0)!
  return [code, code]
}

function range(from: CharSet, to: CharSet): CharSet {
  const [first, last] = [from[0], to[0]]
  if (from.length > 2 || from[1] !== first || to.length > 2 || to[1] !== last || last < first) refuse('class')
  return [first, last]
}
