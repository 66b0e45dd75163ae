/** The bundle's files: fetched once, checked against the manifest, kept for use without a network. */

import { Failure } from '../failure'
import { atTileSize, type Manifest, neededBytes, parseManifest } from './manifest'
import { sha256 } from './sha256'

const STORE = 'phantom-edge-bundle'
const MANIFEST = 'manifest.json'
const MAX_MANIFEST_BYTES = 16 << 20

/** Side of a tile in pixels: one that the bundle must have, or one that is taken where it has it. */
export interface TileChoice {
  readonly size: number
  readonly required: boolean
}

/** Called as bytes arrive: how many of how many. */
export type OnBytes = (loaded: number, total: number) => void

export class BundleFiles {
  private loaded = 0
  private readonly total: number

  private constructor(
    private readonly base: URL,
    readonly manifest: Manifest,
    private readonly store: Cache | null,
    private readonly onBytes: OnBytes,
  ) {
    this.total = neededBytes(manifest)
  }

  /**
   * Reads the manifest below `base`, from the network when there is one, else as it was stored. Without `tile` it is
   * for the bundle's default size of tiles.
   *
   * @throws {Failure} `network` or `manifest`.
   */
  static async open(base: URL, tile: TileChoice | null, onBytes: OnBytes): Promise<BundleFiles> {
    const store = await openStore()
    const text = await readManifest(new URL(MANIFEST, base), store)
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch {
      throw new Failure('manifest', "The model's manifest.json is not JSON. Copy the bundle again, whole.")
    }
    const manifest = parseManifest(json)
    const known = tile && (tile.required || manifest.tiles.sizes.some(({ size }) => size === tile.size))
    const files = new BundleFiles(base, known ? atTileSize(manifest, tile.size) : manifest, store, onBytes)
    await files.dropOthers()
    return files
  }

  /**
   * One file's bytes, from the store or the network, whose SHA-256 is the manifest's either way.
   *
   * @throws {Failure} `network`, `damaged` or `memory`.
   */
  async read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const entry = this.manifest.files[name]
    if (!entry) throw new Failure('manifest', `${name} is not among the bundle's files. Copy the bundle again, whole.`)
    const key = this.key(name)
    const stored = await this.store?.match(key)
    if (stored) {
      const bytes = await this.receive(stored, name, entry.bytes)
      if ((await sha256(bytes)) === entry.sha256) return bytes
      await this.store?.delete(key)
      this.loaded -= entry.bytes
    }
    const bytes = await this.receive(await request(new URL(name, this.base), name), name, entry.bytes)
    if ((await sha256(bytes)) !== entry.sha256) {
      throw new Failure('damaged', `${name} is not the file that was exported (SHA-256 differs). Copy the bundle again, whole.`)
    }
    await this.keep(key, bytes)
    return bytes
  }

  private key(name: string): string {
    const url = new URL(name, this.base)
    url.search = `?sha256=${this.manifest.files[name]?.sha256 ?? ''}`
    return url.href
  }

  /** The body of a response of exactly `size` bytes, reporting progress. */
  private async receive(response: Response, name: string, size: number): Promise<Uint8Array<ArrayBuffer>> {
    const wrong = new Failure('damaged', `${name} has not the size in the manifest. Copy the bundle again, whole.`)
    if (!response.body) throw wrong
    const bytes = new Uint8Array(size)
    const reader = response.body.getReader()
    let at = 0
    for (;;) {
      const { done, value } = await readPart(reader, name)
      if (done) break
      if (at + value.length > size) throw wrong
      bytes.set(value, at)
      at += value.length
      this.loaded += value.length
      this.onBytes(this.loaded, this.total)
    }
    if (at !== size) throw wrong
    return bytes
  }

  private async keep(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await this.store?.put(key, new Response(bytes))
    } catch {
      // No room for it: the app works, and needs the network again the next time.
    }
  }

  /** Forgets files of an earlier model at this address. */
  private async dropOthers(): Promise<void> {
    if (!this.store) return
    const current = new Set([new URL(MANIFEST, this.base).href])
    for (const name of Object.keys(this.manifest.files)) current.add(this.key(name))
    for (const { url } of await this.store.keys()) {
      if (url.startsWith(this.base.href) && !current.has(url)) await this.store.delete(url)
    }
  }
}

async function openStore(): Promise<Cache | null> {
  try {
    return await caches.open(STORE)
  } catch {
    return null // storage is switched off, as in some private windows
  }
}

async function readManifest(url: URL, store: Cache | null): Promise<string> {
  let response: Response
  try {
    response = await request(url, MANIFEST)
  } catch (error) {
    const stored = await store?.match(url.href)
    if (!stored) throw error
    return stored.text()
  }
  const text = await response.text()
  if (text.length > MAX_MANIFEST_BYTES) throw new Failure('manifest', "The model's manifest.json is far too large.")
  await store?.put(url.href, new Response(text)).catch(() => undefined)
  return text
}

async function request(url: URL, name: string): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, { cache: 'no-cache' })
  } catch {
    throw new Failure('network', `${name} cannot be loaded. Check the connection and try again.`)
  }
  if (!response.ok) {
    throw new Failure('network', `${name} cannot be loaded: the server says ${response.status}.`)
  }
  return response
}

async function readPart(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  name: string,
): Promise<ReadableStreamReadResult<Uint8Array>> {
  try {
    return await reader.read()
  } catch {
    throw new Failure('network', `${name} broke off. Check the connection and try again.`)
  }
}
