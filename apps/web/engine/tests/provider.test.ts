import { afterEach, describe, expect, it, vi } from 'vitest'

import { parseManifest } from '../src/bundle/manifest'
import { chooseProvider, withoutWebGpu } from '../src/model/provider'
import { changed } from './helpers'

const integers = parseManifest(changed({}))
const blocks = parseManifest(changed({ counts: { text_decoder: { MatMulNBits: 17 } } }))
const half = parseManifest(changed({ format: 'onnx-webgpu', target: 'webgpu', counts: { text_decoder: { MatMulNBits: 17 } } }))

function browser(features: string[] | null, cores = 8, isolated = true): void {
  const requestAdapter = async () => (features ? { features: new Set(features) } : null)
  vi.stubGlobal('navigator', { hardwareConcurrency: cores, gpu: { requestAdapter } })
  vi.stubGlobal('crossOriginIsolated', isolated)
}

afterEach(() => vi.unstubAllGlobals())

describe('chooseProvider', () => {
  it('takes the CPU for integer operations, whatever the GPU', async () => {
    browser(['shader-f16'])
    expect(await chooseProvider(integers, null)).toMatchObject({ provider: 'wasm', threads: 4 })
  })

  it('takes the GPU where there is one', async () => {
    browser([])
    expect(await chooseProvider(blocks, null)).toMatchObject({ provider: 'webgpu' })
    expect(await chooseProvider(blocks, 'wasm')).toMatchObject({ provider: 'wasm', reason: 'as requested' })
  })

  it('asks for 16-bit floats only where the graphs compute in them', async () => {
    browser([])
    expect(await chooseProvider(half, null)).toMatchObject({ provider: 'wasm', fellBack: true })
    expect((await chooseProvider(half, null)).reason).toMatch(/^WebGPU has no 16-bit floats on this device/)
    await expect(chooseProvider(half, 'webgpu')).rejects.toThrow(/^WebGPU has no 16-bit floats.*without \?device/)
    browser(['shader-f16'])
    expect(await chooseProvider(half, null)).toMatchObject({ provider: 'webgpu' })
  })

  it('falls back to the CPU where the graphs run there, and says what would be faster', async () => {
    browser(null)
    expect(await chooseProvider(blocks, null)).toMatchObject({
      provider: 'wasm',
      reason: 'this browser has no WebGPU; a bundle of --quant int8 would be faster',
      fellBack: true,
    })
    expect(await chooseProvider(half, null)).toMatchObject({ provider: 'wasm', fellBack: true })
    expect(await chooseProvider(integers, null)).toMatchObject({ provider: 'wasm', fellBack: false })
    await expect(chooseProvider(blocks, 'webgpu')).rejects.toThrow(/This browser has no WebGPU\. Open/)
  })

  it('leaves a core to the page, and has one thread without isolation', () => {
    browser(null, 2)
    expect(withoutWebGpu(integers, 'no-webgpu').threads).toBe(1)
    browser(null, 16, false)
    expect(withoutWebGpu(integers, 'no-webgpu').threads).toBe(1)
  })
})
