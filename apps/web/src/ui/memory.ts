/** How much memory the page takes: all of it with its worker where the browser measures that, else what its runtime took. */

import { text } from '../i18n/text'
import { megabytes } from './format'

interface Measuring {
  measureUserAgentSpecificMemory?(): Promise<{ readonly bytes: number }>
}

/** Milliseconds between two measurements, each of which may wait for the browser to tidy up. */
const REST = 10_000

export interface Memory {
  readonly bytes: number
  /** Whether it is everything, or the runtime's heap alone. */
  readonly isWhole: boolean
}

export class MemoryMeter {
  private whole: Memory | null = null
  private busy = false
  private at = -Infinity

  constructor(private readonly onMemory: (memory: Memory) => void) {}

  /** An answer was given, and the runtime has that many bytes. */
  answered(runtime: number): void {
    this.onMemory(this.whole ?? { bytes: runtime, isWhole: false })
    void this.measure()
  }

  private async measure(): Promise<void> {
    const { measureUserAgentSpecificMemory: measure } = performance as Measuring
    if (!measure || !crossOriginIsolated || this.busy || performance.now() - this.at < REST) return
    this.busy = true
    try {
      const { bytes } = await measure.call(performance)
      this.whole = { bytes, isWhole: true }
      this.onMemory(this.whole)
    } catch {
      // What the runtime took stays on the page.
    }
    this.busy = false
    this.at = performance.now()
  }
}

/** The figure with what it is of. */
export function memoryWords({ bytes, isWhole }: Memory): string {
  return text(isWhole ? 'info.memory-whole' : 'info.memory-runtime', { size: megabytes(bytes) })
}
