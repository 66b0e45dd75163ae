/** The service worker's side on the page: threads on hosts that send no headers, and use without a network. */

const TRIED = 'phantom-edge-isolation-tried'
const PATIENCE = 4000 // milliseconds to wait for the service worker before going on without it

/**
 * Registers the service worker. WASM threads need a page that is cross-origin isolated, by two response headers. Where
 * the host does not send them the service worker adds them, which takes one reload: the first visit's.
 *
 * Returns false when the page is about to be reloaded.
 */
export async function prepareOffline(): Promise<boolean> {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return true
  const registered = navigator.serviceWorker.register('./sw.js').catch(() => null)
  if (crossOriginIsolated || sessionStorage.getItem(TRIED)) return true
  sessionStorage.setItem(TRIED, 'yes')
  const inTime = new Promise<false>((resolve) => setTimeout(() => resolve(false), PATIENCE))
  if (!(await registered)) return true
  const ready = navigator.serviceWorker.ready.then(() => true)
  if (!(await Promise.race([ready, inTime]))) return true
  location.reload()
  return false
}

/**
 * Asks the service worker to keep `files` besides the app's own; resolves to whether the app now works offline.
 */
export async function keepOffline(files: readonly string[]): Promise<boolean> {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return false
  const registration = await navigator.serviceWorker.ready
  const worker = registration.active
  if (!worker) return false
  const { port1, port2 } = new MessageChannel()
  return new Promise((resolve) => {
    port1.onmessage = ({ data }: MessageEvent<boolean>) => resolve(data)
    worker.postMessage({ keep: files }, [port2])
  })
}
