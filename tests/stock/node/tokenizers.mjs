// Encodes and decodes texts with the tokenizer of each folder.
import { readFile } from 'node:fs/promises';

const { root, folders, texts, transformers } = JSON.parse(await readFile(process.argv[2]));
const { AutoTokenizer, env } = await import(transformers);
Object.assign(env, { allowRemoteModels: false, localModelPath: root });
const results = {};
for (const folder of folders) {
  const tokenizer = await AutoTokenizer.from_pretrained(folder);
  const ids = texts.map((text) => tokenizer.encode(text, { add_special_tokens: false }));
  const decode = (one) => (one.length ? tokenizer.decode(one, { skip_special_tokens: true }) : '');
  results[folder] = { ids, texts: ids.map(decode) };
}
process.stdout.write(JSON.stringify(results) + '\n');
