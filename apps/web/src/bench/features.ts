/** What this browser offers: isolation (shared memory, so threads), SIMD, WebGPU. */

/** (module (func (result v128) i32.const 0 i8x16.splat)): valid only where WebAssembly has 128-bit SIMD. */
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
])

interface AdapterInfo {
  readonly vendor?: string
  readonly architecture?: string
  readonly description?: string
  readonly isFallbackAdapter?: boolean
}

interface Gpu {
  requestAdapter(): Promise<{ readonly info?: AdapterInfo } | null>
}

export interface Features {
  readonly isolated: boolean
  readonly simd: boolean
  readonly cores: number
  /** Null where there is no adapter. */
  readonly webgpu: { readonly name: string; readonly software: boolean } | null
  readonly userAgent: string
}

export async function readFeatures(): Promise<Features> {
  return {
    isolated: crossOriginIsolated && typeof SharedArrayBuffer === 'function',
    simd: WebAssembly.validate(SIMD),
    cores: navigator.hardwareConcurrency || 1,
    webgpu: await adapter(),
    userAgent: navigator.userAgent,
  }
}

async function adapter(): Promise<Features['webgpu']> {
  const gpu = (navigator as { gpu?: Gpu }).gpu
  const adapter = (await gpu?.requestAdapter().catch(() => null)) ?? null
  if (adapter === null) return null
  const { vendor = '', architecture = '', description = '', isFallbackAdapter = false } = adapter.info ?? {}
  const software = isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${architecture} ${description}`)
  return { name: [vendor, architecture, description].filter(Boolean).join(' '), software }
}
