/** The dialog about the model: what it is, where it runs, whether it is stored, and the self-test. */

import type { Check, ModelInfo } from 'phantom-edge-web'

import { type Key, number, text } from '../i18n/text'
import { button, element, make } from './dom'
import { large, megabytes, seconds, squarePixels } from './format'
import { opened } from './opened'

export interface InfoHost {
  /** Runs the self-test, calling back for each row. */
  onTest(onCheck: (check: Check) => void): Promise<void>
}

export class Info {
  private readonly facts = element('facts', HTMLDListElement)
  private readonly test = button('test')
  private readonly checks = element('checks', HTMLTableElement)
  private info: ModelInfo | null = null
  private tile = 0
  private isStored = false

  constructor(private readonly host: InfoHost) {
    opened('info', 'about')
    this.test.addEventListener('click', () => void this.run())
    this.refresh()
  }

  show(info: ModelInfo): void {
    this.info = info
    this.tile = info.tile
    this.isStored = false
    this.test.disabled = false
    this.refresh()
  }

  /** The size of the last answer. */
  sees(tile: number): void {
    if (tile === this.tile) return
    this.tile = tile
    this.refresh()
  }

  /** Whether the app works without a network. */
  offline(ready: boolean): void {
    this.isStored = ready
    this.refresh()
  }

  /** Writes what is known, in the language in use. */
  refresh(): void {
    this.facts.replaceChildren()
    const { info } = this
    if (!info) return this.fact('info.model', text('info.loading'))
    const { name, parameters, recipe, loadTime } = info
    this.fact('info.model', parameters > 0 ? text('info.parameters', { name, count: large(parameters) }) : name)
    const bytes = info.sizes.find(({ size }) => size === this.tile)?.bytes ?? 0
    this.fact('info.recipe', text('info.to-load', { recipe, size: megabytes(bytes) }))
    this.fact('info.runs-on', text('info.device', { device: deviceOf(info), cause: text(`cause.${info.cause}`) }))
    this.fact('info.sees', squarePixels(this.tile))
    this.fact('info.ready-after', seconds(loadTime))
    this.fact('info.offline', text(this.isStored ? 'info.offline-yes' : 'info.offline-no'))
  }

  private fact(name: Key, value: string): void {
    const cell = make('dd', '', value)
    cell.dataset.fact = name
    this.facts.append(make('dt', '', text(name)), cell)
  }

  private async run(): Promise<void> {
    const body = this.checks.tBodies[0]
    if (!body) return
    body.replaceChildren()
    this.checks.hidden = false
    this.test.disabled = true
    try {
      await this.host.onTest((check) => body.append(tableRow(check)))
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      body.append(tableRow({ name: 'test', value: NaN, limit: NaN, passed: false, detail }))
    }
    this.test.disabled = false
  }
}

function deviceOf({ provider, threads }: ModelInfo): string {
  if (provider === null) return text('info.no-device')
  if (provider === 'webgpu') return 'WebGPU'
  return `WASM, ${text(threads === 1 ? 'unit.thread' : 'unit.threads', { n: number(threads) })}`
}

/** What a check is called on the screen: `image_features.max` is a stage at worst. */
function checkTitle({ name }: Check): string {
  const [stage = '', kind] = name.split('.')
  const title = stage in CHECKS ? text(CHECKS[stage as keyof typeof CHECKS]) : name
  return kind === 'max' ? text('check.max', { stage: title }) : title
}

const CHECKS = {
  pixel_values: 'check.pixel_values',
  image_features: 'check.image_features',
  prefill_logits: 'check.prefill_logits',
  generated_ids: 'check.generated_ids',
  test: 'check.test',
} as const satisfies Record<string, Key>

function tableRow(check: Check): HTMLTableRowElement {
  const result = make('td', '', text(check.passed ? 'info.passed' : 'info.failed'))
  result.dataset.passed = String(check.passed)
  const measured = check.detail || check.value.toExponential(1)
  const limit = check.limit > 0 ? `≤ ${check.limit.toExponential(1)}` : ''
  const row = make('tr')
  row.append(make('td', '', checkTitle(check)), make('td', '', measured), make('td', '', limit), result)
  return row
}
