// The browser build of transformers.js on onnxruntime-web's WASM, with the bundle served over HTTP; Node is the browser.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join, normalize } from 'node:path';
import { run } from './cases.mjs';

const job = JSON.parse(await readFile(process.argv[2]));
const packages = new URL('node_modules/', import.meta.url);

const server = createServer(async (request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
  const data = await readFile(join(job.root, path)).catch(() => null);
  response.writeHead(data ? 200 : 404, { 'content-length': data?.length ?? 0 }).end(data);
}).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));

Object.defineProperty(process, 'release', { value: { name: 'browser' } }); // what the package tells Node by
const transformers = await import(job.transformers);
const { env } = transformers;
Object.assign(env, { allowLocalModels: false, useBrowserCache: false, useWasmCache: false });
Object.assign(env, { remoteHost: `http://127.0.0.1:${server.address().port}/`, remotePathTemplate: '{model}/' });
const wasm = new URL('onnxruntime-web/dist/ort-wasm-simd-threaded', packages).href;
Object.assign(env.backends.onnx.wasm, { numThreads: 1, wasmPaths: { mjs: `${wasm}.mjs`, wasm: `${wasm}.wasm` } });
await run(job, transformers, await import(job.module));
server.close();
