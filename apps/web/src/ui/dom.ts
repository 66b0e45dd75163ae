/** The one way to an element of index.html. */

/** The element with that id. @throws {TypeError} when the page has none of that type: page and code must agree. */
export function element<T extends Element>(id: string, type: abstract new () => T): T {
  const node = document.getElementById(id)
  if (!(node instanceof type)) throw new TypeError(`index.html has no ${type.name} #${id}`)
  return node
}

export function button(id: string): HTMLButtonElement {
  return element(id, HTMLButtonElement)
}

export function text(id: string, value: string): void {
  const node = element(id, HTMLElement)
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
