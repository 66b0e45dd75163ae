/** Whether the form of an answer, and how its tokens are chosen, is what the engine takes; runs anywhere, also in Node.js. */

export { Failure } from './failure'
export { checkChoices, type Form } from './form/form'
export { parsePattern } from './form/pattern'
export { checkSampling, GREEDY, type Sampling } from './model/sampling'
