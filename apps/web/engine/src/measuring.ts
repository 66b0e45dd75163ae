/** The engine's inner parts, in the thread that imports them, for benchmarks: they change with every version. */

export type { Manifest } from './bundle/manifest'
export type { Pixels } from './image/resize'
export { append, largest, prefill } from './model/decoding'
export { loadSession } from './model/load'
export { buildPrompt } from './model/prompt'
export type { Session } from './model/session'
export { wasmBytes } from './worker/memory'
