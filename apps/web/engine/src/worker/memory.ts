/** How much memory the model's WASM heap has taken. The runtime does not tell, so the heap is noted when it is made. */

const heaps: WebAssembly.Memory[] = []

WebAssembly.Memory = class extends WebAssembly.Memory {
  constructor(descriptor: WebAssembly.MemoryDescriptor) {
    super(descriptor)
    heaps.push(this)
  }
}

/** Bytes of all WASM heaps of this worker. A heap grows and never shrinks. */
export function wasmBytes(): number {
  return heaps.reduce((sum, heap) => sum + heap.buffer.byteLength, 0)
}
