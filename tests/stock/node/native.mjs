// transformers.js on onnxruntime-node, as `npm install` gives it to a Node program.
import { readFile } from 'node:fs/promises';
import { run } from './cases.mjs';

const job = JSON.parse(await readFile(process.argv[2]));
const transformers = await import(job.transformers);
Object.assign(transformers.env, { allowRemoteModels: false, localModelPath: job.root });
await run(job, transformers, await import(job.module));
