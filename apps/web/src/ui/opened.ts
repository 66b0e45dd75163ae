/** Dialogs of the page: buttons open one; its own button, a click beside it, or Escape closes it. */

import { button, element } from './dom'

/** The dialog with that id, opened by each of the buttons `openers`. */
export function opened(id: string, ...openers: readonly string[]): HTMLDialogElement {
  const dialog = element(id, HTMLDialogElement)
  for (const opener of openers) button(opener).addEventListener('click', () => dialog.showModal())
  button(`${id}-close`).addEventListener('click', () => dialog.close())
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close()
  })
  return dialog
}
