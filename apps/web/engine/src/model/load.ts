/** From a bundle's address to an engine that answers. */

import { BundleFiles } from '../bundle/files'
import { type Golden, goldenFile, readGolden } from '../bundle/golden'
import { atTileSize, type Manifest, neededBytes } from '../bundle/manifest'
import { asFailure } from '../failure'
import type { Engine, LoadPart, ModelInfo, PictureSize, Progress } from './engine'
import { FakeEngine } from './fake'
import { Graphs } from './graphs'
import type { EngineOptions } from './options'
import { type Choice, chooseProvider, loadOrt, runtimeBytes, withoutWebGpu } from './provider'
import { requireGolden } from './self_test'
import { Session } from './session'
import { Tokenizer } from './tokenizer'

const TITLES: Readonly<Record<LoadPart, string>> = {
  model: 'Loading the model',
  runtime: 'Loading the runtime',
  vision_encoder: 'Preparing the vision encoder',
  token_embedding: 'Preparing the vocabulary',
  text_decoder: 'Preparing the language model',
  gpu: 'Checking the GPU',
}
const REPORT_EVERY = 60 // milliseconds; bytes arrive far more often than a bar need move

/** @throws {Failure} what is wrong with the bundle, the network or the browser. */
export async function loadEngine(options: EngineOptions, onProgress: (progress: Progress) => void): Promise<Engine> {
  if (options.engine === 'fake') return FakeEngine.load(onProgress)
  return loadSession(options, onProgress)
}

/** As {@link loadEngine}, of a real model. */
export function loadSession(options: EngineOptions, onProgress: (progress: Progress) => void): Promise<Session> {
  return new Loader(onProgress).load(options)
}

function pictureSizes(manifest: Manifest): PictureSize[] {
  return manifest.tiles.sizes.map(({ size, tokens }) => ({ size, tokens, bytes: neededBytes(atTileSize(manifest, size)) }))
}

class Loader {
  private readonly start = performance.now()
  private part: LoadPart = 'model'
  private bundle: readonly [loaded: number, total: number] = [0, 0]
  private runtime: readonly [loaded: number, total: number] = [0, 0]
  private said = 0

  constructor(private readonly onProgress: (progress: Progress) => void) {}

  async load(options: EngineOptions): Promise<Session> {
    const files = await BundleFiles.open(new URL(options.bundle), options.tile, (loaded, total) => this.received(loaded, total))
    const { manifest } = files
    const choice = await chooseProvider(manifest, options.device, options.threads)
    this.runtime = [0, runtimeBytes(choice)]
    const tokenizer = Tokenizer.fromJson(JSON.parse(new TextDecoder().decode(await files.read('tokenizer.json'))))
    try {
      return await this.open(files, tokenizer, choice, options)
    } catch (error) {
      const failure = asFailure(error)
      if (choice.provider === 'wasm' || failure.code !== 'model') throw failure // the CPU's fault, or a file's
      const onCpu = withoutWebGpu(manifest, 'wrong-webgpu', options.threads, failure.message)
      return this.open(files, tokenizer, onCpu, options)
    }
  }

  private async open(
    files: BundleFiles,
    tokenizer: Tokenizer,
    choice: Choice,
    { keepVision, runtime }: EngineOptions,
  ): Promise<Session> {
    const { manifest } = files
    this.began('runtime')
    const { ort, files: runtimeFiles } = await loadOrt(choice, runtime, (loaded) => this.runtimeReceived(loaded, runtimeBytes(choice)))
    const read = (path: string) => files.read(path)
    const golden = async (chosen: Manifest) => readGolden((await read(goldenFile(chosen))).buffer)
    const gpu = choice.provider === 'webgpu'
    const graphs = await Graphs.load(ort, manifest, choice.provider, read, (graph) => this.began(graph))
    delete ort.env.wasm.wasmBinary // compiled by now
    if (gpu) await this.checkGpu(graphs, manifest, await golden(manifest))
    const threads = `${choice.threads} ${choice.threads === 1 ? 'thread' : 'threads'}`
    const info: ModelInfo = {
      name: manifest.source.name,
      parameters: manifest.source.parameters,
      knows: manifest.knows,
      recipe: manifest.recipe,
      device: gpu ? 'WebGPU' : `WASM, ${threads}`,
      reason: choice.reason,
      provider: choice.provider,
      threads: choice.threads,
      cause: choice.cause,
      detail: choice.detail,
      fellBack: choice.fellBack,
      tile: manifest.tiles.size,
      sizes: pictureSizes(manifest),
      loadTime: performance.now() - this.start,
      runtimeFiles,
    }
    return new Session(manifest, info, graphs, tokenizer, golden, keepVision)
  }

  /** GPUs and their drivers differ, and one that computes wrongly must not answer. */
  private async checkGpu(graphs: Graphs, manifest: Manifest, golden: Golden): Promise<void> {
    this.began('gpu')
    try {
      await requireGolden(graphs, manifest, golden)
    } catch (error) {
      await graphs.release()
      throw asFailure(error) // also a shader that this GPU does not run
    }
  }

  private began(part: LoadPart): void {
    this.part = part
    this.report()
  }

  private received(loaded: number, total: number): void {
    this.bundle = [loaded, total]
    this.reportSome()
  }

  private runtimeReceived(loaded: number, total: number): void {
    this.runtime = [loaded, total]
    this.reportSome()
  }

  private reportSome(): void {
    const isComplete = this.bundle[0] === this.bundle[1]
    if (performance.now() - this.said > REPORT_EVERY || isComplete) this.report()
  }

  private report(): void {
    this.said = performance.now()
    const [loaded, total] = [this.bundle[0] + this.runtime[0], this.bundle[1] + this.runtime[1]]
    this.onProgress({ part: this.part, step: TITLES[this.part], loaded, total })
  }
}
