import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import { goldenFile } from '../src/bundle/golden'
import { atTileSize, dataFiles, neededBytes, neededFiles, parseManifest } from '../src/bundle/manifest'
import { changed, manifestJson, severalSizes } from './helpers'

describe('parseManifest', () => {
  it('reads what the exporter writes', () => {
    const manifest = parseManifest(manifestJson())
    expect(manifest.ids).toEqual({ first: 256, image: 260, end: [257] })
    expect([manifest.recipe, manifest.float]).toEqual(['int8', 'fp16'])
    expect(dataFiles(manifest, 'text_decoder')).toEqual(['onnx/decoder.onnx_data', 'onnx/decoder.onnx_data_1'])
    expect(neededFiles(manifest)).not.toContain('golden.safetensors')
    expect(manifest.tiles).toEqual({ size: 8, tokens: 3, sizes: [{ size: 8, tokens: 3, vision_encoder: 'onnx/vision_encoder.onnx' }] })
  })

  it('reads further sizes of tiles', () => {
    expect(parseManifest(severalSizes()).tiles.sizes.map(({ size }) => size)).toEqual([8, 4, 12])
    const small = { size: 4, tokens: 1, vision_encoder: 'onnx/vision_encoder_4.onnx' }
    const wrong = (changes: object) => severalSizes({ size: 8, tokens: 3, others: [{ ...small, ...changes }] })
    expect(() => parseManifest(wrong({ tokens: '1' }))).toThrow('tiles.others.0.tokens is not a whole')
    expect(() => parseManifest(wrong({ vision_encoder: 'onnx/x.onnx' }))).toThrow('onnx/x.onnx is not among its files')
  })

  it('is for one of them when it is chosen, with the weights of the default one', () => {
    const whole = parseManifest(severalSizes())
    const small = atTileSize(whole, 4)
    expect(small.tiles).toMatchObject({ size: 4, tokens: 1 })
    expect(small.graphs).toEqual({ ...whole.graphs, vision_encoder: 'onnx/vision_encoder_4.onnx' })
    expect(dataFiles(small, 'vision_encoder')).toEqual(['onnx/vision_encoder.onnx_data', 'onnx/vision_encoder_4.onnx_data'])
    expect(dataFiles(whole, 'vision_encoder')).toEqual(['onnx/vision_encoder.onnx_data'])
    expect(neededFiles(small)).not.toContain('onnx/vision_encoder.onnx')
    expect(neededFiles(whole).filter((name) => name.includes('_4') || name.includes('_12'))).toEqual([])
    expect(neededBytes(small) - neededBytes(whole)).toBe(7) // its own data: the position embeddings
    expect([goldenFile(whole), goldenFile(small)]).toEqual(['golden.safetensors', 'golden_4.safetensors'])
    expect(atTileSize(small, 8)).toEqual(whole)
  })

  it('refuses a size that there is not, naming those that there are', () => {
    expect(() => atTileSize(parseManifest(severalSizes()), 5)).toThrow('no tiles of 5 pixels. Choose one of its sizes: 8, 4, 12.')
  })

  it.each([
    ['another platform', changed({ format: 'coreml', target: 'ios', browser: false }), /it is for ios \(coreml\)/],
    ['a newer bundle', changed({ schema: 3 }), /^This app is older than the bundle \(schema 3, 2 here\): update the app\.$/],
    ['an earlier bundle', changed({ schema: 1 }), /schema 1 is of an earlier phantom-edge; export the bundle again/],
    ['no object', [1, 2], /not an object/],
    ['a missing field', changed({ context: undefined }), /context is not a whole number/],
    ['a field of another type', changed({ ids: { first: 1, image: '5', end: [2] } }), /ids\.image is not a whole number/],
    ['no end token', changed({ ids: { first: 1, image: 5, end: [] } }), /ids\.end is not a list/],
    ['a tile out of reason', changed({ tiles: { size: 1 << 21, tokens: 3 } }), /tiles\.size is not between/],
    ['a graph that is not there', changed({ graphs: { vision_encoder: 'a', token_embedding: 'b', text_decoder: 'c' } }), /a is not among/],
    ['a path out of the bundle', changed({ files: { '../x': { bytes: 1, sha256: '0'.repeat(64) } } }), /lies outside/],
    ['another address', changed({ files: { 'https://x/y': { bytes: 1, sha256: '0'.repeat(64) } } }), /lies outside/],
    ['no hash', changed({ files: { x: { bytes: 1, sha256: 'abc' } } }), /files\.x\.sha256 is not of the right form/],
  ])('refuses %s', (_, json, message) => {
    expect(() => parseManifest(json)).toThrow(message)
  })
})

type Json = unknown
type Path = readonly string[]

interface Schema {
  readonly type?: string
  readonly $ref?: string
  readonly anyOf?: readonly Schema[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Schema | boolean
  readonly propertyNames?: { readonly pattern?: string }
  readonly items?: Schema
  readonly enum?: readonly Json[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly pattern?: string
}

/** Written by tests/apps_web: the schema that Python generates, and the manifest of a real bundle. */
const cases = process.env.MANIFEST_CASES
describe.skipIf(!cases)('parseManifest and the schema', () => {
  const { schema, manifest }: { schema: Schema & { readonly $defs: Record<string, Schema> }; manifest: Json } = cases
    ? JSON.parse(readFileSync(cases, 'utf8'))
    : { schema: {}, manifest: {} }
  const paths = cases ? fieldsRead(manifest) : []

  const resolve = (node: Schema): Schema => (node.$ref ? (schema.$defs[node.$ref.replace('#/$defs/', '')] as Schema) : node)

  /** What the schema says of a field, whether it must be there, and whether it may be null. */
  function rule(path: Path): { node: Schema; required: boolean; nullable: boolean } {
    let node: Schema = schema
    let required = true
    let nullable = false
    for (const key of path) {
      const other = node.additionalProperties
      const next = node.properties?.[key] ?? (typeof other === 'object' ? other : undefined)
      if (!next) throw new Error(`the schema has no ${path.join('.')}`)
      required = node.required?.includes(key) ?? false
      nullable = next.anyOf?.some(({ type }) => type === 'null') ?? false
      node = resolve(next.anyOf?.find(({ type }) => type !== 'null') ?? next)
    }
    return { node, required, nullable }
  }

  it('agree that a real manifest is right', () => {
    expect(paths.length).toBeGreaterThan(40)
  })

  it.each(paths.map((path) => ({ path, name: path.join('.') })))('agree on $name', ({ path, name }) => {
    const { node, required, nullable } = rule(path)
    for (const value of wrongValues(node).filter((wrong) => wrong !== null || !nullable)) {
      expect(() => parseManifest(replaced(manifest, path, value)), `${name}: ${JSON.stringify(value)}`).toThrow(path.at(-1))
    }
    if (required) expect(() => parseManifest(replaced(manifest, path, undefined)), name).toThrow(path.at(-1))
    const { minimum = 0, maximum = minimum, type, enum: only } = node
    if (type !== 'integer' || only) return
    for (const value of [minimum, maximum]) parseManifest(replaced(manifest, path, value))
  })

  it.each(['../x', '/x', 'x//y', 'x/./y', 'x/..', 'x\\y', 'https://x/y', 'x?y', 'x#y', ''])('agree that %j is no path', (name) => {
    const { pattern } = rule(['files']).node.propertyNames ?? {}
    expect(new RegExp(pattern ?? '').test(name)).toBe(false)
    const entry = { bytes: 1, sha256: '0'.repeat(64) }
    expect(() => parseManifest(replaced(manifest, ['files', name], entry))).toThrow('outside')
  })
})

/** The fields that the app reads of a manifest, as paths; lists count as one. */
function fieldsRead(manifest: Json): string[][] {
  const paths = new Map<string, string[]>()
  const watched = (value: Json, path: string[]): Json => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
    return new Proxy(value, {
      get(target, key) {
        const inner = [...path, String(key)]
        paths.set(inner.join('\0'), inner)
        return watched(Reflect.get(target, key), inner)
      },
    })
  }
  parseManifest(watched(manifest, []))
  return [...paths.values()]
}

function wrongValues({ type, minimum, maximum, minItems, items, pattern }: Schema): Json[] {
  const foreign: Json[] = [null, 'text', 1.5, 7, true, [], {}]
  const kind = (value: Json) =>
    value === null ? 'null' : Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value
  const values = foreign.filter((value) => kind(value) !== type)
  if (minimum !== undefined) values.push(minimum - 1)
  if (maximum !== undefined) values.push(maximum + 1)
  if (pattern !== undefined) values.push(...['../x', '', 'two\nlines'].filter((text) => !new RegExp(pattern, 'u').test(text)))
  if (minItems !== undefined) values.push([])
  if (items) values.push(...wrongValues(items).map((value) => [value]))
  return values
}

/** A copy in which one field has another value; undefined takes it away. */
function replaced(json: Json, path: Path, value: Json): Json {
  const copy = structuredClone(json) as Record<string, Json>
  let at = copy
  for (const key of path.slice(0, -1)) at = at[key] as Record<string, Json>
  const last = path.at(-1) as string
  if (value === undefined) delete at[last]
  else at[last] = value
  return copy
}
