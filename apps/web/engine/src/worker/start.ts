/** Starts the worker that runs the model. */

/** From a folder that has the package's `worker.js`, or else from where the bundler puts it: it knows the expression. */
export function startWorker(folder: URL | null): Worker {
  if (folder) return new Worker(new URL('worker.js', folder), { type: 'module', name: 'model' })
  return new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'model' })
}
