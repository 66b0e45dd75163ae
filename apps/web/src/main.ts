import { asFailure, type LoadOptions, type TileChoice } from 'phantom-edge-web'

import { App } from './app'
import { type AppConfig, parseConfig, wrongSettings } from './config'
import { speak } from './i18n/speak'
import { LANGUAGES } from './i18n/text'
import { prepareOffline } from './offline'
import { type Preferences, readPreferences } from './preferences'
import { applyTheme } from './theme'
import { Status } from './ui/status'

/**
 * `?engine=fake` answers without a model, `?device=wasm` or `?device=webgpu` chooses where it runs, `?tile=336` how
 * finely it looks, else as the user chose the last time; `?vision=release` gives the vision encoder back after each picture.
 */
function readOptions(chosen: Preferences): LoadOptions {
  const query = new URLSearchParams(location.search)
  const device = query.get('device')
  return {
    bundle: new URL('./bundle/', location.href).href,
    engine: query.get('engine') === 'fake' ? 'fake' : 'model',
    device: device === 'wasm' || device === 'webgpu' ? device : null,
    threads: null,
    keepVision: query.get('vision') !== 'release',
    tile: readTile(query, chosen),
  }
}

function readTile(query: URLSearchParams, { tileSize }: Preferences): TileChoice | null {
  const size = Number(query.get('tile'))
  if (size > 0) return { size, required: true }
  return tileSize === null ? null : { size: tileSize, required: false }
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

async function start(chosen: Preferences): Promise<void> {
  try {
    const config = await loadConfig()
    const missing = speak(config, chosen.language)
    applyTheme(chosen.scheme ?? config.theme.scheme, config.theme.accent)
    await new App(config, chosen, readOptions(chosen)).start(missing)
  } catch (error) {
    const status = new Status()
    status.set('state.stopped', 'bad')
    status.fail('model', asFailure(error), { retry: () => location.reload() })
  }
}

const chosen = readPreferences()
speak({ languages: LANGUAGES, strings: {} }, chosen.language)
applyTheme(chosen.scheme ?? 'auto', null)
if (await prepareOffline()) await start(chosen)
