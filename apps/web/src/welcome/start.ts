/** How a visit begins: on the welcome screen, or at once with what the address or the last visit says. */

export const WAYS = ['camera', 'sample', 'picture'] as const
export type Way = (typeof WAYS)[number]

const USED_CAMERA = 'phantom-edge-used-camera'

/** `?start=camera`, `sample` or `picture`, for pages that embed the app; else the camera, if it needs no question. */
export async function beginning(query: URLSearchParams): Promise<Way | null> {
  const start = WAYS.find((way) => way === query.get('start'))
  if (start) return start
  return !query.has('start') && usedCamera() && (await cameraIsGranted()) ? 'camera' : null
}

/** The camera was used, so the next visit may begin with it. */
export function rememberCamera(): void {
  try {
    localStorage.setItem(USED_CAMERA, 'yes')
  } catch {
    // The next visit begins on the welcome screen.
  }
}

function usedCamera(): boolean {
  try {
    return localStorage.getItem(USED_CAMERA) !== null
  } catch {
    return false // storage is switched off, as in some private windows
  }
}

async function cameraIsGranted(): Promise<boolean> {
  try {
    const { state } = await navigator.permissions.query({ name: 'camera' as PermissionName })
    return state === 'granted'
  } catch {
    return false // a browser that does not say: the welcome screen is one tap more
  }
}
