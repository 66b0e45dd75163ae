/** What the worker must know to load a model. */

import type { TileChoice } from '../bundle/files'

/** Where the graphs run. */
export type Provider = 'wasm' | 'webgpu'

/** Why a model runs where it does. */
export type Cause = 'requested' | 'int8' | 'webgpu' | 'no-webgpu' | 'no-f16' | 'wrong-webgpu' | 'fake'

/** Addresses of the files of onnxruntime-web: its WASM, and the script that starts it. */
export type RuntimeFiles = Readonly<Record<Provider, { readonly glue: string; readonly binary: string }>>

export interface EngineOptions {
  /** Address of the bundle's folder, with a slash at the end. */
  readonly bundle: string
  /** `fake` answers without a model, for tests of a page. */
  readonly engine: 'model' | 'fake'
  /** Null leaves it to the engine. */
  readonly device: Provider | null
  /** Of WASM; null leaves it to the engine. */
  readonly threads: number | null
  /** Whether the vision encoder stays in memory between pictures; otherwise each picture loads it again. */
  readonly keepVision: boolean
  /** Which of the bundle's sizes of tiles to look with; null for the bundle's default. */
  readonly tile: TileChoice | null
  readonly runtime: RuntimeFiles
}
