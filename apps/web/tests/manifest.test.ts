import { describe, expect, it } from 'vitest'

import { dataFiles, neededFiles, parseManifest } from '../src/bundle/manifest'
import { changed, manifestJson } from './helpers'

describe('parseManifest', () => {
  it('reads what the exporter writes', () => {
    const manifest = parseManifest(manifestJson())
    expect(manifest.ids).toEqual({ first: 256, image: 260, end: [257] })
    expect([manifest.recipe, manifest.float]).toEqual(['int8', 'fp16'])
    expect(dataFiles(manifest, 'text_decoder')).toEqual(['onnx/decoder.onnx_data', 'onnx/decoder.onnx_data_1'])
    expect(neededFiles(manifest)).not.toContain('golden.safetensors')
  })

  it.each([
    ['another platform', changed({ format: 'coreml', target: 'ios' }), /it is for ios \(coreml\)/],
    ['a newer schema', changed({ schema: 3 }), /schema 3 is newer/],
    ['no object', [1, 2], /not an object/],
    ['a missing field', changed({ context: undefined }), /context is not a whole number/],
    ['a field of another type', changed({ ids: { first: 1, image: '5', end: [2] } }), /ids\.image is not a whole number/],
    ['no end token', changed({ ids: { first: 1, image: 5, end: [] } }), /ids\.end is not a list/],
    ['a tile out of reason', changed({ tiles: { size: 99999, tokens: 3 } }), /tiles\.size is not between/],
    ['a graph that is not there', changed({ graphs: { vision_encoder: 'a', token_embedding: 'b', text_decoder: 'c' } }), /a is not among/],
    ['a path out of the bundle', changed({ files: { '../x': { bytes: 1, sha256: '0'.repeat(64) } } }), /lies outside/],
    ['another address', changed({ files: { 'https://x/y': { bytes: 1, sha256: '0'.repeat(64) } } }), /lies outside/],
    ['no hash', changed({ files: { x: { bytes: 1, sha256: 'abc' } } }), /SHA-256 of x/],
  ])('refuses %s', (_, json, message) => {
    expect(() => parseManifest(json)).toThrow(message)
  })
})
