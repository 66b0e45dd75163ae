/** Lets waiting messages in between two pieces of work: WASM runs on this thread, and a cancel must be able to arrive. */

const { port1, port2 } = new MessageChannel()
const waiting: (() => void)[] = []
port1.onmessage = () => waiting.shift()?.()

/** Resolves after messages that were already waiting. A timer would do as well, but browsers delay nested ones by 4 ms. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve)
    port2.postMessage(null)
  })
}
