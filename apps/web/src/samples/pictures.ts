/** The built-in pictures, which `recipes/web_samples.py` makes. */

import list from './samples.json'

export type SampleName = keyof typeof list.pictures
export const SAMPLES = Object.keys(list.pictures) as readonly SampleName[]

const ADDRESSES: Readonly<Record<string, string>> = import.meta.glob('./*.jpg', { eager: true, query: '?url', import: 'default' })

export function sampleAddress(name: SampleName): string {
  return ADDRESSES[`./${name}.jpg`] as string
}
