// Runs a job's questions on its bundles and prints what came out, as one line of JSON.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export async function run({ root, bundles, pictures = [] }, transformers, { open, ask, pixelValues }) {
  const { Tensor, RawImage } = transformers;
  const results = { answers: {}, types: {}, chats: {}, pictures: [], processed: [] };
  for (const { name, questions, options, chats } of bundles) {
    const bundle = await open(name, JSON.parse(await readFile(join(root, name, 'manifest.json'))), options);
    results.types[name] = Object.values(bundle.model.sessions).map(({ config }) => config);
    results.answers[name] = [];
    for (const { text, pixels, tokens } of questions) {
      const tiles = pixels && new Tensor('float32', await floats(pixels.file), pixels.shape);
      results.answers[name].push(await watched(bundle, () => ask(bundle, text, tiles, { max_new_tokens: tokens })));
    }
    results.chats[name] = chats.map((messages) => {
      const text = bundle.tokenizer.apply_chat_template(messages, { tokenize: false, add_generation_prompt: true });
      return bundle.tokenizer.encode(text, { add_special_tokens: false });
    });
    await bundle.model.dispose();
  }
  for (const { image, tiles, file, shape, bundle, text } of pictures) {
    const made = pixelValues(await RawImage.read(image), tiles);
    results.pictures.push({ shape: made.dims, worst: differences(made.data, await floats(file), shape[0]) });
    if (shape[0] > 1) continue;
    const processor = await transformers.AutoProcessor.from_pretrained(bundle);
    const { pixel_values, input_ids } = await processor(await RawImage.read(image), text);
    const worst = differences(pixel_values.data, await floats(file), 1);
    results.processed.push({ shape: pixel_values.dims, worst, ids: input_ids.tolist()[0].map(Number) });
  }
  process.stdout.write(JSON.stringify(results) + '\n');
}

async function floats(file) {
  const { buffer, byteOffset, length } = await readFile(file);
  return new Float32Array(buffer.slice(byteOffset, byteOffset + length));
}

/** The largest difference of each of `parts` equal pieces. */
function differences(values, expected, parts) {
  const size = expected.length / parts;
  const worst = Array(parts).fill(0);
  expected.forEach((value, at) => {
    const part = Math.floor(at / size);
    worst[part] = Math.max(worst[part], Math.abs(value - values[at]));
  });
  return worst;
}

/** The text that `answer` resolves to, with the ids that the model was given and gave. */
async function watched({ model }, answer) {
  const generate = model.generate;
  let given, all;
  model.generate = async (inputs) => {
    given = inputs.input_ids.tolist()[0].map(Number);
    const output = await generate.call(model, inputs);
    all = output.tolist()[0].map(Number);
    return output;
  };
  try {
    return { text: await answer(), prompt: given, ids: all.slice(given.length) };
  } finally {
    delete model.generate;
  }
}
