/** What this app reads of a bundle's manifest.json, by the rules of phantom_edge/bundle/manifest.schema.json. */

import { Failure } from '../failure'

export const SCHEMA = 2
export const GRAPHS = ['vision_encoder', 'token_embedding', 'text_decoder'] as const
const MOST_TOKENS = 1 << 24
const MOST = 1 << 20 // of any dimension
const MOST_LAYERS = 1024
const PATH = /^(?!\.\.?(\/|$))[^/\\:?#\u0000-\u001f]{1,200}(\/(?!\.\.?(\/|$))[^/\\:?#\u0000-\u001f]{1,200})*$/
const SENTENCE = /^[^\p{Cc}]{1,200}$/u
const SHA256 = /^[0-9a-f]{64}$/
export type Graph = (typeof GRAPHS)[number]

export interface FileEntry {
  readonly bytes: number
  readonly sha256: string
}

export interface PromptTemplate {
  readonly user_start: string
  readonly user_end: string
  readonly assistant_start: string
  readonly assistant_end: string
  readonly image_start: string
  readonly image_context: string
  readonly image_end: string
}

/** A size of tiles: its side in pixels, image tokens per tile, and the path of its vision encoder. */
export interface TileSize {
  readonly size: number
  readonly tokens: number
  readonly vision_encoder: string
}

export interface Manifest {
  readonly target: string
  /** `onnx`, which runs everywhere, or a variant of it for one device. */
  readonly format: string
  /** Path of each graph below the bundle. */
  readonly graphs: Readonly<Record<Graph, string>>
  /** Operations of each graph, by type; what the graphs are made of decides where they run. */
  readonly counts: Readonly<Record<string, Readonly<Record<string, number>>>>
  readonly source: { readonly name: string; readonly parameters: number }
  /** What the model knows, in a sentence of its own; null where it does not say. */
  readonly knows: string | null
  readonly recipe: string
  /** Type of what the recipe does not quantise. */
  readonly float: string
  readonly prompt: PromptTemplate
  /** Side of a tile in pixels, image tokens per tile, and every size that may be chosen, the default first. */
  readonly tiles: { readonly size: number; readonly tokens: number; readonly sizes: readonly [TileSize, ...TileSize[]] }
  /** First token of every prompt, the image token, and the tokens that end an answer. */
  readonly ids: { readonly first: number; readonly image: number; readonly end: readonly number[] }
  readonly shape: { readonly hidden: number; readonly vocabulary: number; readonly layers: number }
  /** Tokens that the cache holds, and most tokens of one decoder call. */
  readonly context: number
  readonly chunk: number
  readonly files: Readonly<Record<string, FileEntry>>
}

/**
 * Checks everything this app reads and drops the rest.
 *
 * @throws {Failure} `manifest`, naming the field that is missing or wrong.
 */
export function parseManifest(json: unknown): Manifest {
  const root = new Reader(json, '')
  const schema = root.integer('schema')
  if (schema > SCHEMA) {
    throw new Failure('manifest', `This app is older than the bundle (schema ${schema}, ${SCHEMA} here): update the app.`)
  }
  if (schema < SCHEMA) throw refused(`schema ${schema} is of an earlier phantom-edge; export the bundle again`)
  const format = root.text('format')
  const target = root.text('target')
  if (!root.flag('browser')) throw refused(`it is for ${target} (${format}); export one with --target web`)
  const files = readFiles(root.object('files'))
  const graphs = root.object('graphs')
  const paths = Object.fromEntries(GRAPHS.map((name) => [name, graphs.text(name, PATH)])) as Record<Graph, string>
  for (const path of [...Object.values(paths), 'tokenizer.json']) {
    if (!(path in files)) throw refused(`${path} is not among its files`)
  }
  const prompt = root.object('prompt')
  const ids = root.object('ids')
  const sizes = readTileSizes(root.object('tiles'), paths.vision_encoder, files)
  const shape = root.object('shape')
  const source = root.object('source')
  const recipe = root.object('recipe')
  return {
    target,
    format,
    graphs: paths,
    counts: readCounts(root.object('counts')),
    source: { name: source.text('name'), parameters: source.integer('parameters') },
    knows: root.optionalText('knows', SENTENCE),
    recipe: recipe.text('name'),
    float: recipe.text('float'),
    prompt: {
      user_start: prompt.text('user_start'),
      user_end: prompt.text('user_end'),
      assistant_start: prompt.text('assistant_start'),
      assistant_end: prompt.text('assistant_end'),
      image_start: prompt.text('image_start'),
      image_context: prompt.text('image_context'),
      image_end: prompt.text('image_end'),
    },
    tiles: { size: sizes[0].size, tokens: sizes[0].tokens, sizes },
    ids: { first: ids.integer('first', MOST - 1), image: ids.integer('image', MOST - 1), end: ids.integers('end', MOST - 1) },
    shape: {
      hidden: shape.count('hidden', MOST),
      vocabulary: shape.count('vocabulary', MOST),
      layers: shape.count('layers', MOST_LAYERS),
    },
    context: root.count('context', MOST_TOKENS),
    chunk: root.count('chunk', MOST_TOKENS),
    files,
  }
}

/**
 * The manifest with tiles of another of the bundle's sizes: what reads it sees the vision encoder of that size alone.
 *
 * @throws {Failure} `manifest`, naming the sizes that there are.
 */
export function atTileSize(manifest: Manifest, size: number): Manifest {
  const { sizes } = manifest.tiles
  const chosen = sizes.find((entry) => entry.size === size)
  if (!chosen) {
    const all = sizes.map((entry) => entry.size).join(', ')
    throw new Failure('manifest', `This model has no tiles of ${size} pixels. Choose one of its sizes: ${all}.`)
  }
  const graphs = { ...manifest.graphs, vision_encoder: chosen.vision_encoder }
  return { ...manifest, graphs, tiles: { size, tokens: chosen.tokens, sizes } }
}

/**
 * Paths of the files that hold a graph's external data, which are named after it: `decoder.onnx_data`, `…_data_1`.
 * Vision encoders for further sizes of tiles also read the weights of the default one.
 */
export function dataFiles(manifest: Manifest, graph: Graph): string[] {
  const shared = graph === 'vision_encoder' ? [manifest.tiles.sizes[0].vision_encoder] : []
  const prefixes = [manifest.graphs[graph], ...shared].map((path) => `${path}_data`)
  const isData = (name: string, prefix: string) => name.startsWith(prefix) && /^(_\d+)?$/.test(name.slice(prefix.length))
  return Object.keys(manifest.files).filter((name) => prefixes.some((prefix) => isData(name, prefix)))
}

/** Every file that the app needs in order to answer, smallest use first: the tokenizer, then each graph and its data. */
export function neededFiles(manifest: Manifest): string[] {
  return ['tokenizer.json', ...GRAPHS.flatMap((graph) => [manifest.graphs[graph], ...dataFiles(manifest, graph)])]
}

/** Bytes of {@link neededFiles}. */
export function neededBytes(manifest: Manifest): number {
  return neededFiles(manifest).reduce((sum, name) => sum + (manifest.files[name]?.bytes ?? 0), 0)
}

function readTileSizes(tiles: Reader, visionEncoder: string, files: Manifest['files']): [TileSize, ...TileSize[]] {
  const read = (entry: Reader) => ({ size: entry.count('size', MOST), tokens: entry.count('tokens', MOST) })
  const others = tiles.objects('others').map((other) => ({ ...read(other), vision_encoder: other.text('vision_encoder', PATH) }))
  const absent = others.find((other) => !(other.vision_encoder in files))
  if (absent) throw refused(`${absent.vision_encoder} is not among its files`)
  return [{ ...read(tiles), vision_encoder: visionEncoder }, ...others]
}

function readFiles(files: Reader): Record<string, FileEntry> {
  const entries: Record<string, FileEntry> = {}
  for (const name of files.keys()) {
    if (!PATH.test(name)) throw refused(`${JSON.stringify(name)} lies outside the bundle`)
    const entry = files.object(name)
    entries[name] = { bytes: entry.integer('bytes'), sha256: entry.text('sha256', SHA256) }
  }
  return entries
}

function readCounts(counts: Reader): Manifest['counts'] {
  const read = (types: Reader) => Object.fromEntries(types.keys().map((type) => [type, types.integer(type)]))
  return Object.fromEntries(counts.keys().map((graph) => [graph, read(counts.object(graph))]))
}

function refused(reason: string): Failure {
  return new Failure('manifest', `This is not a bundle that the app can run: ${reason}.`)
}

/** Reads fields of one JSON object by type; what is missing or of another type is refused by its path. */
class Reader {
  private readonly values: Record<string, unknown>

  constructor(
    json: unknown,
    private readonly path: string,
  ) {
    if (typeof json !== 'object' || json === null || Array.isArray(json)) {
      throw refused(`${path.replace(/\.$/, '') || 'the manifest'} is not an object`)
    }
    this.values = json as Record<string, unknown>
  }

  keys(): string[] {
    return Object.keys(this.values)
  }

  object(key: string): Reader {
    return new Reader(this.get(key), `${this.path}${key}.`)
  }

  /** The objects of a list, which may be missing. */
  objects(key: string): Reader[] {
    const value = this.get(key) === undefined ? [] : this.get(key)
    if (!Array.isArray(value)) throw this.wrong(key, 'a list')
    return value.map((item, n) => new Reader(item, `${this.path}${key}.${n}.`))
  }

  flag(key: string): boolean {
    const value = this.get(key)
    if (typeof value !== 'boolean') throw this.wrong(key, 'true or false')
    return value
  }

  text(key: string, pattern = /./s): string {
    const value = this.get(key)
    if (typeof value !== 'string' || value === '') throw this.wrong(key, 'text')
    if (!pattern.test(value)) throw this.wrong(key, 'of the right form')
    return value
  }

  /** As {@link text}; null where there is none. */
  optionalText(key: string, pattern: RegExp): string | null {
    const value = this.get(key)
    return value === undefined || value === null ? null : this.text(key, pattern)
  }

  /** An integer of 0 to `most`. */
  integer(key: string, most = Number.MAX_SAFE_INTEGER): number {
    const value = this.get(key)
    if (!isCount(value) || value > most) throw this.wrong(key, `a whole number up to ${most}`)
    return value
  }

  /** An integer of 1 to `most`. */
  count(key: string, most: number): number {
    const value = this.integer(key)
    if (value < 1 || value > most) throw this.wrong(key, `between 1 and ${most}`)
    return value
  }

  integers(key: string, most: number): number[] {
    const value = this.get(key)
    const right = (entry: unknown) => isCount(entry) && entry <= most
    if (!Array.isArray(value) || value.length === 0 || !value.every(right)) throw this.wrong(key, 'a list of ids')
    return value
  }

  private get(key: string): unknown {
    return Object.hasOwn(this.values, key) ? this.values[key] : undefined
  }

  private wrong(key: string, kind: string): Failure {
    return refused(`${this.path}${key} is not ${kind}`)
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
