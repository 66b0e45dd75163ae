/** What a page imports. Everything else in this folder is the engine's own. */

export type { TileChoice } from './bundle/files'
export { type Check, titleOf } from './bundle/golden'
export { capture, type Picture } from './capture'
export { type Crop, cropAround, LEAST_PART, type Point, type Rectangle, type Size, type Square, USUAL_PART } from './crop'
export { asFailure, Failure, type FailureCode } from './failure'
export type { Form, Likelihood } from './form/form'
export { type Frame, frameOf } from './frame'
export { load, type LoadOptions } from './load'
export type { AskOptions, Chat, Model, ModelAnswer } from './loaded'
export type { Answer, LoadPart, ModelInfo, PictureSize, Progress, Timing, Turn } from './model/engine'
export type { Cause, Provider } from './model/options'
export { GREEDY, type Sampling } from './model/sampling'
