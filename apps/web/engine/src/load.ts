/** From a bundle's address to a model in a worker of its own. */

import type { TileChoice } from './bundle/files'
import { asFailure, Failure } from './failure'
import { Model } from './loaded'
import type { Progress } from './model/engine'
import type { EngineOptions, Provider, RuntimeFiles } from './model/options'
import { runtimeFiles } from './runtime_files'
import { ModelClient } from './worker/client'
import { startWorker } from './worker/start'

export interface LoadOptions {
  /** Where it runs; without it the engine decides by what the bundle is made of and what the browser has. */
  readonly device?: Provider | undefined
  /** Of WASM, where the page is cross-origin isolated; without it one fewer than the device has cores, at most 4. */
  readonly threads?: number | undefined
  /** The side of the pictures that the model sees, one of those that the bundle has; without it the bundle's default. */
  readonly tileSize?: number | TileChoice | undefined
  /** False gives the vision encoder's memory back after each picture: less memory, slower pictures. */
  readonly keepVision?: boolean | undefined
  /** Called while the model is loaded. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Ends loading: it then fails with `cancelled`. */
  readonly signal?: AbortSignal | undefined
  /** Address of a folder with the files of this package's `dist`, where they do not lie beside its module. */
  readonly assets?: string | URL | undefined
  /** Answers in placeholder text without a model, so that a page can be built and tested anywhere. */
  readonly standIn?: boolean | undefined
}

/**
 * Loads the bundle at an address: a folder as `phantom-edge export --target web` or `--target webgpu` writes it. Each file is
 * checked against the manifest's SHA-256 and kept by the browser, so that the next time needs no network.
 *
 * @throws {Failure} what is wrong with the bundle, the network or the browser, and what to do.
 */
export async function load(bundle: string | URL, options: LoadOptions = {}): Promise<Model> {
  const { signal, onProgress = () => undefined, threads } = options
  if (threads !== undefined && !(Number.isInteger(threads) && threads > 0)) {
    throw new Failure('browser', 'threads must be a whole number from 1 on.')
  }
  const assets = options.assets === undefined ? null : folderAt(options.assets)
  const start = engineOptions(folderAt(bundle), assets ? runtimeIn(assets) : runtimeFiles(), options)
  let isLoading = true
  const client = new ModelClient(startedWorker(assets), (progress) => {
    if (isLoading) onProgress(progress)
  })
  const stop = () => client.close(new Failure('cancelled', 'Loading was cancelled.'))
  try {
    const loading = client.load(start)
    if (signal?.aborted) stop()
    signal?.addEventListener('abort', stop)
    return new Model(client, await loading)
  } catch (error) {
    const failure = asFailure(error)
    client.close(failure)
    throw failure
  } finally {
    signal?.removeEventListener('abort', stop)
    isLoading = false
  }
}

function engineOptions(bundle: URL, runtime: RuntimeFiles, options: LoadOptions): EngineOptions {
  const { device, threads, tileSize, keepVision, standIn } = options
  return {
    bundle: bundle.href,
    engine: standIn ? 'fake' : 'model',
    device: device ?? null,
    threads: threads ?? null,
    keepVision: keepVision ?? true,
    tile: typeof tileSize === 'number' ? { size: tileSize, required: true } : (tileSize ?? null),
    runtime,
  }
}

/** Browsers start no worker from another origin. */
function startedWorker(assets: URL | null): Worker {
  try {
    return startWorker(assets)
  } catch {
    throw new Failure('browser', 'The worker is of another origin. Copy this package’s dist to your own, and give `assets`.')
  }
}

function runtimeIn(folder: URL): RuntimeFiles {
  const named = (name: string) => ({ glue: new URL(`${name}.mjs`, folder).href, binary: new URL(`${name}.wasm`, folder).href })
  return { wasm: named('ort-wasm-simd-threaded'), webgpu: named('ort-wasm-simd-threaded.asyncify') }
}

/** The address of a folder, which ends in a slash. */
function folderAt(address: string | URL): URL {
  let url: URL
  try {
    url = new URL(address, document.baseURI)
  } catch {
    throw new Failure('network', 'This is no address of a folder.')
  }
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return url
}
