import { asFailure, type LoadOptions, type TileChoice } from 'phantom-edge-web'

import { App } from './app'
import { type AppConfig, parseConfig, wrongSettings } from './config'
import { prepareOffline } from './offline'
import { rememberedTileSize } from './preferences'
import { Status } from './ui/status'

/**
 * `?engine=fake` answers without a model, `?device=wasm` or `?device=webgpu` chooses where it runs, `?tile=336` how
 * finely it looks, else as the user chose the last time; `?vision=release` gives the vision encoder back after each picture.
 */
function readOptions(): LoadOptions {
  const query = new URLSearchParams(location.search)
  const device = query.get('device')
  return {
    standIn: query.get('engine') === 'fake',
    device: device === 'wasm' || device === 'webgpu' ? device : undefined,
    keepVision: query.get('vision') !== 'release',
    tileSize: readTile(query),
  }
}

function readTile(query: URLSearchParams): TileChoice | undefined {
  const size = Number(query.get('tile'))
  if (size > 0) return { size, required: true }
  const remembered = rememberedTileSize()
  return remembered === null ? undefined : { size: remembered, required: false }
}

async function loadConfig(): Promise<AppConfig> {
  let json: unknown
  try {
    json = await (await fetch('./app.json', { cache: 'no-cache' })).json()
  } catch {
    throw wrongSettings('it cannot be loaded')
  }
  return parseConfig(json)
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
