/** SplitMix64 (Steele, Lea and Flood, 2014): a small generator of random numbers that is the same in every language. */

const MASK = 64

export class SplitMix64 {
  private state: bigint

  constructor(seed: number | bigint) {
    this.state = BigInt.asUintN(MASK, BigInt(seed))
  }

  /** The next 64 bits. */
  next(): bigint {
    this.state = BigInt.asUintN(MASK, this.state + 0x9e3779b97f4a7c15n)
    let z = this.state
    z = BigInt.asUintN(MASK, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
    z = BigInt.asUintN(MASK, (z ^ (z >> 27n)) * 0x94d049bb133111ebn)
    return z ^ (z >> 31n)
  }

  /** 0 up to, but not, 1, in steps of 2^-53. */
  unit(): number {
    return Number(this.next() >> 11n) * 2 ** -53
  }
}
