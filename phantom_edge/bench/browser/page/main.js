// The page: starts the worker that measures, shows what it does, and tells the server when it dies.

const show = (text) => { document.getElementById('step').textContent = text }

const worker = new Worker('worker.js', { type: 'module' })
worker.onmessage = ({ data }) => show(data)
worker.onerror = (event) => {
  const error = `the page's worker failed: ${event.message || 'out of memory or a script that did not load'}`
  show(error)
  fetch('../told', { method: 'POST', body: JSON.stringify({ error }) })
}
