/** Raw camera access, which the published WebXR types lack (https://immersive-web.github.io/raw-camera-access). */

interface XRCamera {
  readonly width: number
  readonly height: number
}

interface XRView {
  readonly camera?: XRCamera | null
}
