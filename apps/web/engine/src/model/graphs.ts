/** The three graphs of a bundle in onnxruntime-web. Knows tensors and names, nothing of prompts or text. */

import type { InferenceSession, Tensor } from 'onnxruntime-web'

import { dataFiles, type Graph, GRAPHS, type Manifest } from '../bundle/manifest'
import { asFailure, Failure } from '../failure'
import type { Provider } from './provider'

type Ort = typeof import('onnxruntime-web')
/** The graphs that are in memory as long as the model is. */
type Resident = Exclude<Graph, 'vision_encoder'>

const PAST = 'past_key_values.'
const NAMES: Readonly<Record<Graph, { inputs: readonly string[]; output: string }>> = {
  vision_encoder: { inputs: ['pixel_values'], output: 'image_features' },
  token_embedding: { inputs: ['input_ids'], output: 'inputs_embeds' },
  text_decoder: { inputs: ['inputs_embeds', 'attention_mask', 'position_ids'], output: 'logits' },
}

/**
 * Keys and values of the tokens so far, by input name, [1, kv_heads, length, width] each.
 *
 * A cache is never changed: a decoder call gives a new one. So the cache after an image serves any number of questions.
 */
export interface Cache {
  readonly length: number
  readonly tensors: Readonly<Record<string, Tensor>>
}

type ReadFile = (path: string) => Promise<Uint8Array>

/** A graph with the files of its weights, by the names that it knows them by. */
interface GraphFiles {
  readonly model: Uint8Array
  readonly externalData: { path: string; data: Uint8Array }[]
}

interface CacheInput {
  readonly name: string
  readonly present: string
  readonly type: 'float32' | 'float16'
  readonly heads: number
  readonly width: number
}

export class Graphs {
  private readonly cacheInputs: readonly CacheInput[]

  private constructor(
    private readonly ort: Ort,
    readonly provider: Provider,
    private manifest: Manifest,
    private readonly sessions: Partial<Record<Graph, InferenceSession>> & Record<Resident, InferenceSession>,
    private readonly file: ReadFile,
  ) {
    this.cacheInputs = cacheInputs(sessions.text_decoder)
  }

  /**
   * Creates the sessions from the files of a bundle. Each file may be dropped once it was read; those of the vision encoder
   * are read again after a {@link trim}.
   *
   * @throws {Failure} `memory`, or `model` for a graph that does not load or has other inputs and outputs.
   */
  static async load(
    ort: Ort,
    manifest: Manifest,
    provider: Provider,
    file: ReadFile,
    onGraph: (graph: Graph) => void,
  ): Promise<Graphs> {
    const sessions: Partial<Record<Graph, InferenceSession>> = {}
    try {
      for (const graph of GRAPHS) {
        onGraph(graph)
        sessions[graph] = await createSession(ort, provider, graph, await readGraph(manifest, graph, file))
      }
      return new Graphs(ort, provider, manifest, sessions as Record<Graph, InferenceSession>, file)
    } catch (error) {
      for (const session of Object.values(sessions)) await session.release()
      throw asFailure(error, 'model')
    }
  }

  /**
   * Puts the vision encoder of `manifest`, which is for another size of tiles, in the place of the one before, whose
   * memory is given back first.
   *
   * @throws {Failure} `network` or `damaged`, or as {@link Graphs.load}; the size of before stays.
   */
  async useTiles(manifest: Manifest): Promise<void> {
    const files = await readGraph(manifest, 'vision_encoder', this.file)
    try {
      await this.trim()
      this.sessions.vision_encoder = await createSession(this.ort, this.provider, 'vision_encoder', files)
    } catch (error) {
      throw asFailure(error, 'model')
    }
    this.manifest = manifest
  }

  /** What runs them: onnxruntime-web's version, and its threads. */
  get runtime(): { readonly version: string; readonly threads: number } {
    const { versions, wasm } = this.ort.env
    return { version: versions.web ?? versions.common, threads: wasm.numThreads ?? 1 }
  }

  /** One tile [3, S, S] in 0..1 to its image tokens [N * hidden]. */
  async encodeImage(pixels: Float32Array): Promise<Float32Array> {
    const side = this.manifest.tiles.size
    const pixelValues = new this.ort.Tensor('float32', pixels, [1, 3, side, side])
    const { image_features: features } = await (await this.visionEncoder()).run({ pixel_values: pixelValues })
    const data = floats(features)
    if (data.length !== this.manifest.tiles.tokens * this.manifest.shape.hidden) {
      throw new Failure('model', 'The vision encoder gives another number of image tokens than the manifest says.')
    }
    return data
  }

  /** Ids to embeddings [S * hidden]. */
  async embed(ids: readonly number[]): Promise<Float32Array> {
    const inputIds = new this.ort.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length])
    const { inputs_embeds: embeds } = await this.sessions.token_embedding.run({ input_ids: inputIds })
    return floats(embeds)
  }

  emptyCache(): Cache {
    const tensors: Record<string, Tensor> = {}
    for (const { name, type, heads, width } of this.cacheInputs) {
      const empty = type === 'float32' ? new Float32Array(0) : new Uint16Array(0)
      tensors[name] = new this.ort.Tensor(type, empty, [1, heads, 0, width])
    }
    return { length: 0, tensors }
  }

  /** Continues `cache` with embeddings [S * hidden]: logits [vocabulary] of the last position, and the longer cache. */
  async decode(embeds: Float32Array, cache: Cache): Promise<{ logits: Float32Array; cache: Cache }> {
    const { Tensor } = this.ort
    const { hidden } = this.manifest.shape
    const steps = embeds.length / hidden
    const length = cache.length + steps
    const positions = BigInt64Array.from({ length: steps }, (_, n) => BigInt(cache.length + n))
    const outputs = await this.sessions.text_decoder.run({
      ...cache.tensors,
      inputs_embeds: new Tensor('float32', embeds, [1, steps, hidden]),
      attention_mask: new Tensor('int64', new BigInt64Array(length).fill(1n), [1, length]),
      position_ids: new Tensor('int64', positions, [1, steps]),
    })
    const tensors: Record<string, Tensor> = {}
    for (const { name, present } of this.cacheInputs) tensors[name] = outputs[present] as Tensor
    const all = floats(outputs.logits)
    return { logits: all.subarray(all.length - this.manifest.shape.vocabulary), cache: { length, tensors } }
  }

  /** Gives a cache's memory back, where it lies on the GPU; elsewhere the garbage collector does. */
  free(cache: Cache): void {
    for (const tensor of Object.values(cache.tensors)) tensor.dispose()
  }

  /** Gives the vision encoder's memory back; the next picture loads it again. */
  async trim(): Promise<void> {
    const session = this.sessions.vision_encoder
    delete this.sessions.vision_encoder
    await session?.release()
  }

  private async visionEncoder(): Promise<InferenceSession> {
    const { ort, manifest, provider, file, sessions } = this
    const graph = 'vision_encoder'
    return (sessions[graph] ??= await createSession(ort, provider, graph, await readGraph(manifest, graph, file)))
  }

  async release(): Promise<void> {
    for (const session of Object.values(this.sessions)) await session.release()
  }
}

async function readGraph(manifest: Manifest, graph: Graph, file: ReadFile): Promise<GraphFiles> {
  const externalData = []
  for (const path of dataFiles(manifest, graph)) externalData.push({ path: baseName(path), data: await file(path) })
  return { model: await file(manifest.graphs[graph]), externalData }
}

/** @throws {Failure} `model` for other inputs and outputs; what the runtime throws for a graph that does not load. */
async function createSession(
  ort: Ort,
  provider: Provider,
  graph: Graph,
  { model, externalData }: GraphFiles,
): Promise<InferenceSession> {
  const session = await ort.InferenceSession.create(model, { ...sessionOptions(provider, graph), externalData })
  checkNames(graph, session)
  return session
}

function sessionOptions(provider: Provider, graph: Graph): InferenceSession.SessionOptions {
  const options: InferenceSession.SessionOptions = {
    executionProviders: [provider],
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3, // errors; the runtime warns of every constant that it folds
  }
  // The cache stays on the GPU between the calls; logits come back.
  if (provider === 'webgpu' && graph === 'text_decoder') options.preferredOutputLocation = { logits: 'cpu' }
  return options
}

function checkNames(graph: Graph, session: InferenceSession): void {
  const { inputs, output } = NAMES[graph]
  const missing = [...inputs.filter((name) => !session.inputNames.includes(name))]
  if (!session.outputNames.includes(output)) missing.push(output)
  if (missing.length) throw new Failure('model', `The graph ${graph} has no ${missing.join(', ')}; export the bundle again.`)
}

function cacheInputs(decoder: InferenceSession): CacheInput[] {
  const cache = decoder.inputMetadata.flatMap((input): CacheInput[] => {
    if (!input.isTensor || !input.name.startsWith(PAST)) return []
    const [, heads, , width] = input.shape
    const { type } = input
    if (typeof heads !== 'number' || typeof width !== 'number' || (type !== 'float32' && type !== 'float16')) {
      throw new Failure('model', `The cache input ${input.name} is not one this app feeds; export the bundle again.`)
    }
    const present = `present.${input.name.slice(PAST.length)}`
    return [{ name: input.name, present, type, heads, width }]
  })
  const absent = cache.find(({ present }) => !decoder.outputNames.includes(present))
  if (cache.length === 0 || absent) throw new Failure('model', 'The decoder has no KV cache; export the bundle again.')
  return cache
}

function floats(tensor: Tensor | undefined): Float32Array {
  if (!(tensor?.data instanceof Float32Array)) throw new Failure('model', 'A graph gave no numbers of 32 bits.')
  return tensor.data
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
