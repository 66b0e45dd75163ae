import { App } from './app'
import { loadConfig } from './config'
import { asFailure } from './failure'
import type { LoadOptions } from './model/load'
import { prepareOffline } from './offline'
import { Status } from './ui/status'

/**
 * `?engine=fake` answers without a model, `?device=wasm` or `?device=webgpu` chooses where it runs, `?vision=release` gives
 * the vision encoder back after each picture.
 */
function readOptions(): LoadOptions {
  const query = new URLSearchParams(location.search)
  const device = query.get('device')
  return {
    bundle: new URL('./bundle/', location.href).href,
    engine: query.get('engine') === 'fake' ? 'fake' : 'model',
    device: device === 'wasm' || device === 'webgpu' ? device : null,
    threads: null,
    keepVision: query.get('vision') !== 'release',
  }
}

if (await prepareOffline()) {
  try {
    await new App(await loadConfig(), readOptions()).start()
  } catch (error) {
    const status = new Status()
    status.set('Stopped', 'bad')
    status.fail('model', asFailure(error), { retry: () => location.reload() })
  }
}
