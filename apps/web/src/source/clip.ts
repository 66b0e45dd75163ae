/** The first picture of a clip, for who gives a video where a picture is expected. */

import { Failure } from 'phantom-edge-web'

import { text } from '../i18n/text'

const PATIENCE = 8000 // milliseconds until a clip that shows nothing counts as one without pictures

export function isClip(file: Blob): boolean {
  return file.type.startsWith('video/')
}

/** @throws {Failure} `picture` for a clip without one that the browser can show. */
export async function firstPicture(clip: Blob): Promise<ImageBitmap> {
  const video = document.createElement('video')
  video.muted = true
  video.preload = 'auto'
  const address = URL.createObjectURL(clip)
  try {
    await loaded(video, address)
    return await createImageBitmap(video)
  } catch {
    throw new Failure('picture', text('mend.clip'))
  } finally {
    video.removeAttribute('src')
    video.load()
    URL.revokeObjectURL(address)
  }
}

function loaded(video: HTMLVideoElement, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, PATIENCE)
    video.addEventListener('loadeddata', () => (video.videoWidth > 0 ? resolve() : reject()))
    video.addEventListener('error', reject)
    video.addEventListener('ended', reject)
    for (const event of ['loadeddata', 'error', 'ended']) video.addEventListener(event, () => clearTimeout(timer))
    video.src = address
  })
}
