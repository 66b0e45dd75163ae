// The WASM heap: onnxruntime-web makes its WebAssembly.Memory itself, so the constructor is watched.

export function watchWasmMemory() {
  const made = []
  const Native = WebAssembly.Memory
  WebAssembly.Memory = new Proxy(Native, {
    construct(target, parameters) {
      const memory = Reflect.construct(target, parameters)
      made.push(memory)
      return memory
    },
  })
  return () => made.reduce((sum, memory) => sum + memory.buffer.byteLength, 0)
}
