/** The one way to an element of index.html, and to what it says. */

import { type Key, put, type Values } from '../i18n/text'

/** The element with that id. @throws {TypeError} when the page has none of that type: page and code must agree. */
export function element<T extends Element>(id: string, type: abstract new () => T): T {
  const node = document.getElementById(id)
  if (!(node instanceof type)) throw new TypeError(`index.html has no ${type.name} #${id}`)
  return node
}

export function button(id: string): HTMLButtonElement {
  return element(id, HTMLButtonElement)
}

/** Shows a text of the language in use; see {@link put}. */
export function say(id: string, key: Key, values?: Values): void {
  put(element(id, HTMLElement), key, values)
}

/** Shows a value, which is the same in every language. */
export function write(id: string, value: string): void {
  const node = element(id, HTMLElement)
  delete node.dataset.text
  if (node.textContent !== value) node.textContent = value
}

/** A new element with a class and text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  content = '',
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag)
  node.className = className
  node.textContent = content
  return node
}
