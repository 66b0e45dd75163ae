// The three graphs of a bundle in onnxruntime-web. File names come from the job, which has them from the manifest.

const PAST = 'past_key_values.'

export class Phantom {
  static async load(job) {
    const gpu = job.provider === 'webgpu'
    const ort = await import(new URL(`../ort/${gpu ? 'ort.webgpu.min.mjs' : 'ort.wasm.min.mjs'}`, import.meta.url).href)
    ort.env.wasm.wasmPaths = new URL('../ort/', import.meta.url).href
    ort.env.wasm.numThreads = job.threads
    ort.env.logLevel = 'error'
    const phantom = new Phantom(ort, job)
    for (const [graph, { model, data }] of Object.entries(job.graphs)) {
      const options = {
        executionProviders: [job.provider],
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3,
        externalData: data.map(({ name, url }) => ({ path: name, data: address(url) })),
      }
      // On the GPU the cache stays where it is computed; logits come back to be compared.
      if (gpu && graph === 'text_decoder') options.preferredOutputLocation = phantom.presentOnGpu(job.layers)
      phantom.sessions[graph] = await ort.InferenceSession.create(address(model), options)
    }
    phantom.cacheInputs = cacheInputs(phantom.sessions.text_decoder)
    return phantom
  }

  constructor(ort, job) {
    Object.assign(this, { ort, job, sessions: {}, version: ort.env.versions?.web ?? ort.env.versions?.common ?? '?', threads: job.threads })
  }

  presentOnGpu(layers) {
    const names = Array.from({ length: layers }, (_, n) => [`present.${n}.key`, `present.${n}.value`]).flat()
    return Object.fromEntries(names.map((name) => [name, 'gpu-buffer']))
  }

  /** Tiles of one picture, [3, S, S] each in 0..1, to image tokens [T * N * hidden]. */
  async encode(tiles) {
    const side = this.job.tileSize
    const parts = []
    for (const tile of tiles) {
      const pixels = new this.ort.Tensor('float32', tile, [1, 3, side, side])
      const found = await this.sessions.vision_encoder.run({ pixel_values: pixels })
      parts.push(await floats(found.image_features))
    }
    return joined(parts)
  }

  /** Ids to embeddings [S * hidden]. */
  async embed(ids) {
    const tensor = new this.ort.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length])
    const found = await this.sessions.token_embedding.run({ input_ids: tensor })
    return floats(found.inputs_embeds)
  }

  emptyCache() {
    const tensors = {}
    for (const { name, type, heads, width } of this.cacheInputs) {
      const empty = type === 'float16' ? new Uint16Array(0) : new Float32Array(0)
      tensors[name] = new this.ort.Tensor(type, empty, [1, heads, 0, width])
    }
    return { length: 0, tensors }
  }

  /** Continue `cache`, in place, with embeddings [S * hidden]: logits [vocabulary] of the last position. */
  async decode(embeds, cache) {
    const { Tensor } = this.ort
    const steps = embeds.length / this.job.hidden
    const length = cache.length + steps
    const positions = BigInt64Array.from({ length: steps }, (_, n) => BigInt(cache.length + n))
    const outputs = await this.sessions.text_decoder.run({
      ...cache.tensors,
      inputs_embeds: new Tensor('float32', embeds, [1, steps, this.job.hidden]),
      attention_mask: new Tensor('int64', new BigInt64Array(length).fill(1n), [1, length]),
      position_ids: new Tensor('int64', positions, [1, steps]),
    })
    for (const { name } of this.cacheInputs) {
      cache.tensors[name].dispose()
      cache.tensors[name] = outputs[name.replace(PAST, 'present.')]
    }
    cache.length = length
    const logits = await floats(outputs.logits)
    return logits.subarray(logits.length - this.job.vocabulary)
  }

  /** Continue `cache` with ids, image rows in place of image tokens, in pieces of at most `chunk`: the last logits. */
  async prefill(ids, cache, image = null) {
    let logits, taken = 0
    const { chunk, hidden, imageToken } = this.job
    for (let start = 0; start < ids.length; start += chunk) {
      const part = ids.slice(start, start + chunk)
      const embeds = (await this.embed(part)).slice()
      part.forEach((id, n) => {
        if (id === imageToken) embeds.set(image.subarray(taken * hidden, ++taken * hidden), n * hidden)
      })
      logits = await this.decode(embeds, cache)
    }
    return logits
  }

  /** One generated token: embedding, decoder, greedy choice. */
  async next(token, cache) {
    return largest(await this.decode(await this.embed([token]), cache))
  }
}

export function largest(values) {
  let best = 0
  for (let n = 1; n < values.length; n++) if (values[n] > values[best]) best = n
  return best
}

const address = (url) => new URL(url, import.meta.url).href

/** A tensor's values as floats; one on the GPU is fetched, which waits until it is computed. */
async function floats(tensor) {
  return tensor.location === 'gpu-buffer' ? tensor.getData(true) : tensor.data
}

function joined(parts) {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) { out.set(part, at); at += part.length }
  return out
}

function cacheInputs(session) {
  const found = session.inputMetadata.filter(({ name }) => name.startsWith(PAST))
  if (!found.length) throw new Error('the decoder has no past_key_values inputs; export the bundle again')
  return found.map(({ name, type, shape }) => ({ name, type, heads: shape[1], width: shape[3] }))
}
