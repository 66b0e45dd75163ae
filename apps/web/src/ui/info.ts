/** The dialog about the model: what it is, where it runs, how finely it looks, the longest answer, the self-test. */

import { type Check, type ModelInfo, titleOf } from 'phantom-edge-web'

import { button, element, make } from './dom'
import { megabytes, millions, pictureDetails, seconds } from './format'

export interface InfoHost {
  /** Runs the self-test, calling back for each row. */
  onTest(onCheck: (check: Check) => void): Promise<void>
  /** The user chose another {@link Info.tileSize}. */
  onTileSize(size: number): void
  /** The user switched the keys 1 to 9 on or off. */
  onDigitKeys(on: boolean): void
}

export class Info {
  private readonly dialog = element('info', HTMLDialogElement)
  private readonly facts = element('facts', HTMLDListElement)
  private readonly longest = element('longest', HTMLSelectElement)
  private readonly detail = element('detail', HTMLSelectElement)
  private readonly digits = element('digits', HTMLInputElement)
  private readonly test = button('test')
  private readonly checks = element('checks', HTMLTableElement)

  constructor(private readonly host: InfoHost) {
    button('about').addEventListener('click', () => this.dialog.showModal())
    button('info-close').addEventListener('click', () => this.dialog.close())
    this.dialog.addEventListener('click', (event) => {
      if (event.target === this.dialog) this.dialog.close()
    })
    this.detail.addEventListener('change', () => this.host.onTileSize(Number(this.detail.value)))
    this.digits.addEventListener('change', () => this.host.onDigitKeys(this.digits.checked))
    this.test.addEventListener('click', () => void this.run())
    this.fact('Model', 'loading …')
  }

  /** Most tokens of an answer. */
  get maxTokens(): number {
    return Number(this.longest.value)
  }

  set maxTokens(tokens: number) {
    const options = Array.from(this.longest.options, (option) => Number(option.value))
    this.longest.value = String(options.find((value) => value >= tokens) ?? options.at(-1))
  }

  /** Which of the model's sizes to look with; undefined where there is no choice. */
  get tileSize(): number | undefined {
    return this.detail.value === '' ? undefined : Number(this.detail.value)
  }

  set tileSize(size: number) {
    this.detail.value = String(size)
  }

  set digitKeys(on: boolean) {
    this.digits.checked = on
  }

  show(info: ModelInfo): void {
    this.facts.replaceChildren()
    this.offer(info)
    const size = info.parameters > 0 ? `, ${millions(info.parameters)} parameters` : ''
    this.fact('Model', `${info.name}${size}`)
    const bytes = info.sizes.find((entry) => entry.size === info.tile)?.bytes ?? 0
    this.fact('Recipe', `${info.recipe}, ${megabytes(bytes)} to load`)
    this.fact('Runs on', `${info.device} (${info.reason})`)
    this.fact('Sees', `${info.tile} × ${info.tile} pixels`).dataset.sees = ''
    this.fact('Ready after', seconds(info.loadTime))
    this.offline(false)
    this.test.disabled = false
  }

  /** The sizes to choose from, if there are several. */
  private offer({ tile, sizes }: ModelInfo): void {
    const several = sizes.length > 1
    const choices = several ? pictureDetails(sizes.map(({ size }) => size)) : []
    element('detail-row', HTMLElement).hidden = !several
    this.detail.replaceChildren(...choices.map(([size, words]) => new Option(words, String(size))))
    if (several) this.tileSize = tile
  }

  /** The size of the last answer. */
  sees(tile: number): void {
    const cell = this.facts.querySelector('dd[data-sees]')
    if (cell) cell.textContent = `${tile} × ${tile} pixels`
  }

  offline(ready: boolean): void {
    const words = ready ? 'yes, everything is stored' : 'not yet'
    const known = this.facts.querySelector('dd[data-offline]')
    if (known) known.textContent = words
    else this.fact('Works offline', words).dataset.offline = ''
  }

  private fact(name: string, value: string): HTMLElement {
    const cell = make('dd', '', value)
    this.facts.append(make('dt', '', name), cell)
    return cell
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
      body.append(tableRow({ name: 'Self-test', value: NaN, limit: NaN, passed: false, detail }))
    }
    this.test.disabled = false
  }
}

function tableRow(check: Check): HTMLTableRowElement {
  const result = make('td', '', check.passed ? 'passed' : 'failed')
  result.dataset.passed = String(check.passed)
  const measured = check.detail || check.value.toExponential(1)
  const limit = check.limit > 0 ? `≤ ${check.limit.toExponential(1)}` : ''
  const row = make('tr')
  row.append(make('td', '', titleOf(check)), make('td', '', measured), make('td', '', limit), result)
  return row
}
