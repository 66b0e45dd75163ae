import { asFailure, type LoadOptions, type TileChoice } from 'phantom-edge-web'

import { App } from './app'
import { type AppConfig, missingSettings, parseConfig } from './config'
import { speak } from './i18n/speak'
import { type Language, LANGUAGES, put, TEXTS } from './i18n/text'
import { prepareOffline } from './offline'
import { type Preferences, readPreferences } from './preferences'
import { applyTheme } from './theme'
import { Status } from './ui/status'
import { Welcome } from './welcome/welcome'

/**
 * `?engine=fake` answers without a model, `?device=wasm` or `?device=webgpu` chooses where it runs, `?tile=336` how
 * finely it looks, else as the user chose the last time; `?vision=release` gives the vision encoder back after each picture.
 */
function readOptions(chosen: Preferences): LoadOptions {
  const query = new URLSearchParams(location.search)
  const device = query.get('device')
  return {
    standIn: query.get('engine') === 'fake',
    device: device === 'wasm' || device === 'webgpu' ? device : undefined,
    keepVision: query.get('vision') !== 'release',
    tileSize: readTile(query, chosen),
  }
}

function readTile(query: URLSearchParams, { tileSize }: Preferences): TileChoice | undefined {
  const size = Number(query.get('tile'))
  if (size > 0) return { size, required: true }
  return tileSize === null ? undefined : { size: tileSize, required: false }
}

async function loadConfig(): Promise<AppConfig> {
  let json: unknown
  try {
    json = await (await fetch('./app.json', { cache: 'no-cache' })).json()
  } catch {
    throw missingSettings()
  }
  return parseConfig(json)
}

/** Says on every screen that the address names a language which the app does not speak, and which it does. */
function explainMissing(tag: string, offered: readonly Language[]): void {
  const languages = offered.map((one) => TEXTS[one]['language.name']).join(', ')
  for (const line of document.querySelectorAll<HTMLElement>('.missing-language')) {
    put(line, 'language.missing', { tag: tag.slice(0, 20), languages })
    line.hidden = false
  }
}

async function start(chosen: Preferences): Promise<void> {
  try {
    const config = await loadConfig()
    const missing = speak(config, chosen.language)
    applyTheme(chosen.scheme ?? config.theme.scheme, config.theme.accent)
    if (missing !== null) explainMissing(missing, config.languages)
    await new App(config, chosen, readOptions(chosen)).start()
  } catch (error) {
    new Welcome(() => undefined).leave()
    const status = new Status()
    status.set('state.stopped', 'bad')
    status.fail('model', asFailure(error), { retry: () => location.reload() })
  }
}

const chosen = readPreferences()
speak({ languages: LANGUAGES, strings: {} }, chosen.language)
applyTheme(chosen.scheme ?? 'auto', null)
if (await prepareOffline()) await start(chosen)
