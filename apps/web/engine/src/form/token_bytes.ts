/** What each token of a tokenizer.json writes, as bytes: the steps of its decoder, token by token. */

import { Failure } from '../failure'

const BYTE = /^<0x([0-9A-Fa-f]{2})>$/
/** A `Strip` at the start of a text, as the exporter writes it. */
const LEADING_SPACES = /^\(\?<!\[\\s\\S\]\) (?:\+|\{1,(\d{1,5})\})$/
const MANY_SPACES = 1 << 16

type Json = Readonly<Record<string, unknown>>

/** How a token becomes bytes, and how many spaces at the very start of a text go. */
export interface TokenDecoder {
  readonly bytesOf: (token: string) => Uint8Array
  readonly strippedSpaces: number
}

/** @throws {Failure} `model` for a decoder of another kind than the exporter writes. */
export function tokenDecoder(decoder: unknown): TokenDecoder {
  const steps = stepsOf(decoder)
  const kinds = steps.map(({ type }) => type)
  if (kinds.join() === 'ByteLevel') return { bytesOf: byteLevel(), strippedSpaces: 0 }
  const replacements: [string, string][] = []
  let strippedSpaces = 0
  for (const step of steps) {
    const pattern = (step.pattern ?? {}) as { String?: string; Regex?: string }
    if (step.type === 'Replace' && pattern.String !== undefined) replacements.push([pattern.String, String(step.content)])
    else if (step.type === 'Replace' && pattern.Regex !== undefined) strippedSpaces = spacesOf(pattern.Regex)
    else if (step.type === 'Strip' && step.content === ' ') strippedSpaces = Number(step.start)
    else if (step.type === 'Metaspace') {
      replacements.push([String(step.replacement), ' '])
      strippedSpaces = Number(step.prepend_scheme !== 'never')
    } else if (step.type !== 'ByteFallback' && step.type !== 'Fuse') throw unknown(step.type)
  }
  const encoder = new TextEncoder()
  const bytesOf = (token: string): Uint8Array => {
    const byte = kinds.includes('ByteFallback') ? BYTE.exec(token)?.[1] : undefined
    if (byte !== undefined) return Uint8Array.of(parseInt(byte, 16))
    return encoder.encode(replacements.reduce((text, [old, written]) => text.replaceAll(old, written), token))
  }
  return { bytesOf, strippedSpaces }
}

function stepsOf(decoder: unknown): Json[] {
  if (typeof decoder !== 'object' || decoder === null) throw unknown('none')
  const { decoders } = decoder as { decoders?: unknown }
  return Array.isArray(decoders) ? (decoders as Json[]) : [decoder as Json]
}

/** Each character of a byte-level vocabulary is a byte: printable Latin-1 is itself, the others come from U+0100 on. */
function byteLevel(): (token: string) => Uint8Array {
  const bytes = new Map<string, number>()
  for (let byte = 0, other = 0x100; byte < 0x100; byte++) {
    const isPrintable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
    bytes.set(String.fromCharCode(isPrintable ? byte : other++), byte)
  }
  const encoder = new TextEncoder()
  return (token) => {
    const values = Array.from(token, (character) => bytes.get(character))
    return values.every((byte) => byte !== undefined) ? Uint8Array.from(values) : encoder.encode(token)
  }
}

function spacesOf(pattern: string): number {
  const match = LEADING_SPACES.exec(pattern)
  if (!match) throw unknown('Replace')
  return Number(match[1] ?? MANY_SPACES)
}

function unknown(kind: unknown): Failure {
  return new Failure('model', `This model's tokenizer has a decoder (${String(kind)}) that answers with a form cannot use.`)
}
