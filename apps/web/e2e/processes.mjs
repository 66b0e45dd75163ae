/** What the operating system says of the browser that this process has started. */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Bytes of this browser's largest renderer, the page with its worker: resident, and those that it shares with no other. */
export function rendererBytes() {
  const lines = execFileSync('ps', ['-eo', 'pid,ppid,rss,args'], { encoding: 'utf8' }).trim().split('\n').slice(1)
  const all = lines.map((line) => line.trim().match(/^(\d+)\s+(\d+)\s+(\d+)\s+(.*)$/)).filter(Boolean)
  const ours = new Set([process.pid])
  for (let grew = true; grew; ) {
    grew = false
    for (const [, pid, parent] of all) if (ours.has(+parent) && !ours.has(+pid)) grew = ours.add(+pid) && true
  }
  const renderers = all.filter(([, pid, , , args]) => ours.has(+pid) && args.includes('--type=renderer'))
  const [largest] = renderers.sort((a, b) => b[3] - a[3])
  if (!largest) return { resident: 0, own: 0 }
  return { resident: largest[3] * 1024, own: ownBytes(largest[1]) }
}

/** Linux tells what a process shares with no other; elsewhere that is not known. */
function ownBytes(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(/^Private_\w+:\s+(\d+) kB$/gm)
    return [...fields].reduce((sum, [, kilobytes]) => sum + kilobytes * 1024, 0)
  } catch {
    return null
  }
}
