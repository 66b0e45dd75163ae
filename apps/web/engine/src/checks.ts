/** Whether the form of an answer is one that the engine takes; runs anywhere, also in Node.js. */

export { Failure } from './failure'
export { checkChoices, type Form } from './form/form'
export { parsePattern } from './form/pattern'
