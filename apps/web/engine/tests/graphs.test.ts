import { describe, expect, it } from 'vitest'

import { type Graph, GRAPHS, parseManifest } from '../src/bundle/manifest'
import { Graphs } from '../src/model/graphs'
import { manifestJson } from './helpers'

const manifest = parseManifest(manifestJson())
const { tiles, shape } = manifest
const NAMES = {
  vision_encoder: { inputNames: ['pixel_values'], outputNames: ['image_features'] },
  token_embedding: { inputNames: ['input_ids'], outputNames: ['inputs_embeds'] },
  text_decoder: {
    inputNames: ['inputs_embeds', 'attention_mask', 'position_ids'],
    outputNames: ['logits', 'present.0.key'],
  },
}

/** A runtime whose sessions are known by the file that they were made of, and that counts which are alive. */
class Runtime {
  readonly alive: Graph[] = []
  readonly Tensor = class {}

  readonly InferenceSession = {
    create: async (model: Uint8Array) => {
      const graph = GRAPHS[model[0] as number] as Graph
      this.alive.push(graph)
      const past = { isTensor: true, name: 'past_key_values.0.key', type: 'float32', shape: [1, 2, 'past', 4] }
      return {
        ...NAMES[graph],
        inputMetadata: graph === 'text_decoder' ? [past] : [],
        run: async () => ({ image_features: { data: new Float32Array(tiles.tokens * shape.hidden) } }),
        release: async () => void this.alive.splice(this.alive.indexOf(graph), 1),
      }
    },
  }
}

describe('Graphs', () => {
  it('gives the vision encoder back and loads it again for the next picture', async () => {
    const runtime = new Runtime()
    const read: string[] = []
    const file = async (path: string) => {
      read.push(path)
      return Uint8Array.of(GRAPHS.findIndex((graph) => manifest.graphs[graph] === path))
    }
    const ort = runtime as unknown as Parameters<typeof Graphs.load>[0]
    const graphs = await Graphs.load(ort, manifest, 'wasm', file, () => undefined)
    const pixels = new Float32Array(3 * tiles.size ** 2)
    await graphs.encodeImage(pixels)
    const once = read.length
    expect(runtime.alive).toEqual([...GRAPHS])
    await graphs.trim()
    await graphs.trim()
    expect(runtime.alive).toEqual(['token_embedding', 'text_decoder'])
    await graphs.encodeImage(pixels)
    await graphs.encodeImage(pixels)
    expect(runtime.alive).toEqual(['token_embedding', 'text_decoder', 'vision_encoder'])
    expect(new Set(read.slice(once))).toEqual(new Set(read.filter((path) => path.includes('vision'))))
    await graphs.release()
    expect(runtime.alive).toEqual([])
  })
})
