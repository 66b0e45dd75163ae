/** Dialogs of the page: a button opens one; its own button, a click beside it, or Escape closes it. */

import { button, element } from './dom'

/** The dialog with that id, opened by the button `opener`. */
export function opened(id: string, opener: string): HTMLDialogElement {
  const dialog = element(id, HTMLDialogElement)
  button(opener).addEventListener('click', () => dialog.showModal())
  button(`${id}-close`).addEventListener('click', () => dialog.close())
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close()
  })
  return dialog
}
