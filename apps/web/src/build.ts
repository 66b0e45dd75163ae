/** What the build asks the app, in Node.js: whether app.json is right, and the texts that stand in the pages before any code runs. */

export { parseConfig } from './config'
export { TEXTS } from './i18n/text'
