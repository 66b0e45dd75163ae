/** The characters that stand for bytes in a byte-level vocabulary. */
function byteCharacters(): string[] {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++))
}

const SPECIAL = ['<|im_start|>', '<|im_end|>', '<img>', '</img>', '<IMG_CONTEXT>']

/** A tokenizer.json in which every byte is a token, ids 0 to 255, and the prompt's markers are 256 and up. */
export function byteTokenizer(): object {
  const vocabulary = Object.fromEntries([...byteCharacters(), ...SPECIAL].map((token, id) => [token, id]))
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, n) => ({
      id: 256 + n,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: vocabulary,
      merges: [],
    },
  }
}

const file = { bytes: 4, sha256: '0'.repeat(64) }

/** A manifest as the exporter writes it, with what the app does not read. */
export function manifestJson(): Record<string, unknown> {
  return {
    schema: 2,
    producer: { phantom_edge: '0.1.0' },
    target: 'web',
    browser: true,
    format: 'onnx',
    graphs: {
      vision_encoder: 'onnx/vision_encoder.onnx',
      token_embedding: 'onnx/embed_tokens.onnx',
      text_decoder: 'onnx/decoder.onnx',
    },
    counts: { text_decoder: { DynamicQuantizeMatMul: 17 } },
    source: { name: 'tiny', decoder: 'qwen2', parameters: 1000 },
    prompt: {
      name: 'chatml',
      user_start: '<|im_start|>user\n',
      user_end: '<|im_end|>',
      assistant_start: '<|im_start|>assistant\n',
      assistant_end: '<|im_end|>',
      image_start: '<img>',
      image_context: '<IMG_CONTEXT>',
      image_end: '</img>',
    },
    tiles: { size: 8, tokens: 3, max: 6, thumbnail: true },
    ids: { first: 256, image: 260, end: [257] },
    shape: { hidden: 2, vocabulary: 261, layers: 1, kv_heads: 1, cache_widths: [4] },
    context: 200,
    chunk: 16,
    recipe: { name: 'int8', float: 'fp16', rules: [] },
    files: {
      'tokenizer.json': file,
      'golden.safetensors': file,
      'onnx/vision_encoder.onnx': file,
      'onnx/vision_encoder.onnx_data': file,
      'onnx/embed_tokens.onnx': file,
      'onnx/decoder.onnx': file,
      'onnx/decoder.onnx_data': file,
      'onnx/decoder.onnx_data_1': file,
      'onnx/decoder.onnx_database': file,
    },
  }
}

/** With vision encoders for tiles of 8, 4 and 12 pixels; `tiles` in their place, if given. */
export function severalSizes(tiles?: object): Record<string, unknown> {
  const others = [
    { size: 4, tokens: 1, vision_encoder: 'onnx/vision_encoder_4.onnx' },
    { size: 12, tokens: 7, vision_encoder: 'onnx/vision_encoder_12.onnx' },
  ]
  const more = Object.fromEntries(others.flatMap(({ vision_encoder: name }) => [[name, file], [`${name}_data`, { ...file, bytes: 7 }]]))
  const base = manifestJson()
  return { ...base, tiles: tiles ?? { size: 8, tokens: 3, max: 6, thumbnail: true, others }, files: { ...(base.files as object), ...more } }
}

export function changed(changes: Record<string, unknown>): Record<string, unknown> {
  return { ...manifestJson(), ...changes }
}
