/** SHA-256, by the browser where it offers that: outside a secure context (plain http, but for localhost) it does not. */

// Fractions of the cube roots and of the square roots of the first primes (FIPS 180-4).
const ROUNDS = new Uint32Array([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
])
const START = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19]
const BLOCK = 64 // bytes

/** Lower-case hexadecimal SHA-256. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const native = globalThis.crypto?.subtle
  return hexadecimal(native ? new Uint8Array(await native.digest('SHA-256', bytes)) : digest(bytes))
}

/** The 32 bytes of a SHA-256, computed here. */
export function digest(bytes: Uint8Array): Uint8Array {
  const state = new Uint32Array(START)
  const words = new Uint32Array(BLOCK)
  const whole = bytes.length - (bytes.length % BLOCK)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at < whole; at += BLOCK) compress(state, words, view, at)
  const end = new Uint8Array(bytes.length - whole < BLOCK - 8 ? BLOCK : 2 * BLOCK)
  end.set(bytes.subarray(whole))
  end[bytes.length - whole] = 0x80
  const last = new DataView(end.buffer)
  last.setBigUint64(end.length - 8, 8n * BigInt(bytes.length))
  for (let at = 0; at < end.length; at += BLOCK) compress(state, words, last, at)
  const result = new DataView(new ArrayBuffer(32))
  state.forEach((word, place) => result.setUint32(4 * place, word))
  return new Uint8Array(result.buffer)
}

/** Takes one block into the state; `words` is scratch. */
function compress(state: Uint32Array, words: Uint32Array, view: DataView, at: number): void {
  for (let n = 0; n < 16; n++) words[n] = view.getUint32(at + 4 * n)
  for (let n = 16; n < BLOCK; n++) {
    const early = words[n - 15] as number
    const late = words[n - 2] as number
    const mixed = turned(early, 7) ^ turned(early, 18) ^ (early >>> 3)
    const other = turned(late, 17) ^ turned(late, 19) ^ (late >>> 10)
    words[n] = (words[n - 16] as number) + mixed + (words[n - 7] as number) + other
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number]
  for (let n = 0; n < BLOCK; n++) {
    const chosen = (e & f) ^ (~e & g)
    const first = (h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + chosen + (ROUNDS[n] as number) + (words[n] as number)) | 0
    const majority = (a & b) ^ (a & c) ^ (b & c)
    const second = ((turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + majority) | 0
    h = g
    g = f
    f = e
    e = (d + first) | 0
    d = c
    c = b
    b = a
    a = (first + second) | 0
  }
  for (const [place, value] of [a, b, c, d, e, f, g, h].entries()) state[place] = (state[place] as number) + value
}

/** A word rotated to the right. */
function turned(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits))
}

function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
