/**
 * The service worker. Keeps the app's own files, each only if its SHA-256 is the one it was built with, so that the app
 * opens without a network; and adds the headers that make a page cross-origin isolated, for hosts that cannot send them.
 * The model's files are kept by the inference worker, which checks them against the bundle's manifest.
 */

export {} // a module, so that the next line is about this file alone

declare const self: ServiceWorkerGlobalScope
/** SHA-256 of every file of the app by its path, put here when the app is built. */
declare const __APP_FILES__: Readonly<Record<string, string>>

const FILES = __APP_FILES__
const STORE = 'phantom-edge-app'
/** Runtimes are large and an app uses one of them: they are kept when the page asks. */
const ON_REQUEST = /\.wasm$/
/** Their names carry a hash of the content, so what is kept never grows old. */
const UNCHANGING = /^assets\//
/** May be changed after the build, so there is no hash to check: the newest that was seen is kept. */
const SETTINGS = 'app.json'
const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
}

self.addEventListener('install', (event) => {
  event.waitUntil(install())
})

self.addEventListener('activate', (event) => {
  event.waitUntil(dropOthers().then(() => self.clients.claim()))
})

self.addEventListener('message', (event) => {
  const { keep } = event.data as { keep: string[] }
  event.waitUntil(keepAll(keep).then((kept) => event.ports[0]?.postMessage(kept)))
})

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url)
  if (event.request.method !== 'GET' || url.origin !== self.location.origin) return
  event.respondWith(answer(event.request, url))
})

async function install(): Promise<void> {
  const paths = Object.keys(FILES).filter((path) => !ON_REQUEST.test(path))
  const missing = await Promise.all(paths.map((path) => store(path)))
  if (missing.includes(false)) throw new Error('a file of the app is not the one that was built')
  await keepSettings(await fetch(addressOf(SETTINGS)))
  await self.skipWaiting()
}

async function keepAll(urls: readonly string[]): Promise<boolean> {
  const results = await Promise.all(urls.map((url) => store(pathOf(new URL(url)))))
  return results.every(Boolean)
}

/** Fetches a file of the app and keeps it if it is the one that was built. */
async function store(path: string): Promise<boolean> {
  const cache = await caches.open(STORE)
  const key = keyOf(path)
  if (await cache.match(key)) return true
  const response = await fetch(addressOf(path)).catch(() => null)
  if (!response?.ok) return false
  const bytes = await response.arrayBuffer()
  if ((await sha256(bytes)) !== FILES[path]) return false
  const type = response.headers.get('Content-Type') ?? 'application/octet-stream'
  await cache.put(key, new Response(bytes, { headers: { 'Content-Type': type } }))
  return true
}

async function keepSettings(response: Response): Promise<Response> {
  if (response.ok) await (await caches.open(STORE)).put(addressOf(SETTINGS), response.clone())
  return response
}

async function dropOthers(): Promise<void> {
  const cache = await caches.open(STORE)
  const current = new Set([addressOf(SETTINGS), ...Object.keys(FILES).map(keyOf)])
  for (const { url } of await cache.keys()) if (!current.has(url)) await cache.delete(url)
}

async function answer(request: Request, url: URL): Promise<Response> {
  const path = pathOf(url)
  const key = path === SETTINGS ? addressOf(SETTINGS) : keyOf(path)
  const stored = path === SETTINGS || path in FILES ? await (await caches.open(STORE)).match(key) : undefined
  if (stored && UNCHANGING.test(path)) return isolated(stored)
  try {
    const response = await fetch(request)
    return isolated(path === SETTINGS ? await keepSettings(response) : response)
  } catch (error) {
    if (stored) return isolated(stored)
    throw error
  }
}

/** The response with the isolation headers; browsers forbid changing one in place. */
function isolated(response: Response): Response {
  if (response.status === 0 || response.redirected) return response
  const headers = new Headers(response.headers)
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value)
  const { status, statusText } = response
  return new Response(status === 204 || status === 304 ? null : response.body, { status, statusText, headers })
}

/** Path below the app's folder; the folder itself is index.html. */
function pathOf(url: URL): string {
  const scope = new URL(self.registration.scope).pathname
  const path = decodeURIComponent(url.pathname)
  return path.startsWith(scope) ? path.slice(scope.length) || 'index.html' : path
}

function addressOf(path: string): string {
  return new URL(path === 'index.html' ? './' : path, self.registration.scope).href
}

/** A file's key changes with its content, so a newer build never serves an older file. */
function keyOf(path: string): string {
  return `${new URL(path, self.registration.scope).href}?sha256=${FILES[path] ?? ''}`
}

async function sha256(bytes: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
