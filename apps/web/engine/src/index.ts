/** What an app imports. Everything else in this folder is the engine's own. */

export { type Check, titleOf } from './bundle/golden'
export type { TileChoice } from './bundle/files'
export { cropAround, LEAST_PART, type Point, type Size, type Square, USUAL_PART } from './crop'
export { asFailure, Failure, type FailureCode } from './failure'
export type { Form, Likelihood } from './form/form'
export type { Answer, LoadPart, ModelInfo, PictureSize, Progress, Timing } from './model/engine'
export type { LoadOptions } from './model/load'
export { GREEDY, type Sampling } from './model/sampling'
export type { Cause, Provider } from './model/provider'
export { type Frame, ModelClient } from './worker/client'
