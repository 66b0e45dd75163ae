/** What is measured of a page: accessibility (axe-core), contrast, layout, and movement while text streams. */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Violations of WCAG 2.2 A and AA and of best practice that axe-core finds, one line each. */
export async function auditAccessibility(page) {
  await page.evaluate(axeSource)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`)
}

/**
 * Texts whose contrast is below 4.5. What lies behind may be the camera, so every half transparent background is taken
 * over white and over black, whichever is worse; axe-core leaves such cases undecided.
 */
export function lowContrast(page) {
  return page.evaluate(() => {
    const channels = (colour) => {
      const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number)
      return { r, g, b, a }
    }
    const over = (top, under) => {
      const mix = (a, b) => a * top.a + b * (1 - top.a)
      return { r: mix(top.r, under.r), g: mix(top.g, under.g), b: mix(top.b, under.b), a: 1 }
    }
    const luminance = ({ r, g, b }) => {
      const linear = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4))
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }
    const ratio = (a, b) => {
      const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x)
      return (high + 0.05) / (low + 0.05)
    }
    const layers = (node) => {
      const colours = []
      for (let at = node; at; at = at.parentElement) {
        const colour = channels(getComputedStyle(at).backgroundColor)
        if (colour.a > 0) colours.push(colour)
        if (colour.a === 1 || at.id === 'overlay') break // the overlay lies over the camera
      }
      return colours.reverse()
    }
    const behind = (node, base) => layers(node).reduce((under, top) => over(top, under), base)
    const low = []
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walker.nextNode()) {
      const text = walker.currentNode.textContent.trim()
      const node = walker.currentNode.parentElement
      if (!text || !node.checkVisibility() || node.closest('.hidden, .skip, script, option')) continue
      const bases = [{ r: 255, g: 255, b: 255, a: 1 }, { r: 0, g: 0, b: 0, a: 1 }]
      const worst = Math.min(
        ...bases.map((base) => {
          const ground = behind(node, base)
          return ratio(over(channels(getComputedStyle(node).color), ground), ground)
        }),
      )
      if (worst < 4.5) low.push(`${text.slice(0, 30)}: ${worst.toFixed(2)}`)
    }
    return low
  })
}

/** Controls outside the window or one over another, text that is cut, and whether the page scrolls. */
export function measureLayout(page) {
  return page.evaluate(() => {
    const { innerWidth: width, innerHeight: height } = window
    const scrolled = document.querySelector('#presets')
    const visible = [...document.querySelectorAll('button, input, select, #pill, .label, dd')].filter(
      (node) => node.checkVisibility() && !node.closest('dialog') && !scrolled.contains(node),
    )
    const boxes = visible.map((node) => ({ name: node.id || node.className || node.textContent, box: node.getBoundingClientRect(), node }))
    const outside = boxes.filter(({ box }) => box.left < -0.5 || box.top < -0.5 || box.right > width + 0.5 || box.bottom > height + 0.5)
    const covering = []
    for (const [n, a] of boxes.entries()) {
      for (const b of boxes.slice(n + 1)) {
        if (a.node.contains(b.node) || b.node.contains(a.node)) continue
        const across = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left)
        const down = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top)
        if (across > 1 && down > 1) covering.push(`${a.name} and ${b.name}`)
      }
    }
    const small = [...document.querySelectorAll('button')]
      .filter((node) => node.checkVisibility() && !node.closest('dialog'))
      .filter((node) => node.getBoundingClientRect().height < 36 || node.getBoundingClientRect().width < 36)
      .map((node) => node.id)
    const cut = [...document.querySelectorAll('button:not(#pin), #pill, dd, dt')]
      .filter((node) => node.checkVisibility() && !node.closest('#presets, dialog') && node.scrollWidth > node.clientWidth + 1)
      .map((node) => node.id || node.textContent)
    const root = document.documentElement
    const stage = document.querySelector('#stage').getBoundingClientRect()
    return {
      outside: outside.map(({ name }) => name),
      covering,
      small,
      cut,
      scrolls: root.scrollWidth > width || root.scrollHeight > height,
      stage: [Math.round(stage.width), Math.round(stage.height)],
    }
  })
}

/** Begins to add up layout shifts (https://wicg.github.io/layout-instability); call the result for the sum so far. */
export async function watchShifts(page) {
  await page.evaluate(() => {
    globalThis.shifts = []
    new PerformanceObserver((list) => {
      for (const { value, sources } of list.getEntries()) {
        globalThis.shifts.push({ value, nodes: sources.map(({ node }) => node?.id || node?.className || node?.nodeName) })
      }
    }).observe({ type: 'layout-shift', buffered: false })
  })
  return () => page.evaluate(() => globalThis.shifts)
}
