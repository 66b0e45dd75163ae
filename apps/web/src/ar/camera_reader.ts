/** The camera's picture of an AR session as pixels. WebXR gives an opaque texture; a square of it is drawn and read. */

import type { Size, Square } from 'phantom-edge-web'
import {
  Mesh,
  OrthographicCamera,
  PlaneGeometry,
  Scene,
  ShaderMaterial,
  type Texture,
  Vector4,
  type WebGLRenderer,
  WebGLRenderTarget,
} from 'three'


const VERTEX = `
  uniform vec4 window;  // left, bottom, width, height of the square in the texture, in 0..1
  varying vec2 at;
  void main() {
    // Upside down: a framebuffer is read from its bottom row up, and pictures begin with their top row.
    at = window.xy + window.zw * vec2(uv.x, 1.0 - uv.y);
    gl_Position = vec4(position.xy, 0.0, 1.0);
  }
`
const FRAGMENT = `
  uniform sampler2D picture;
  varying vec2 at;
  void main() {
    gl_FragColor = vec4(texture2D(picture, at).rgb, 1.0);
  }
`

export class CameraReader {
  private readonly scene = new Scene()
  private readonly camera = new OrthographicCamera()
  private readonly material = new ShaderMaterial({
    vertexShader: VERTEX,
    fragmentShader: FRAGMENT,
    uniforms: { picture: { value: null }, window: { value: new Vector4() } },
    depthTest: false,
  })
  private readonly quad = new Mesh(new PlaneGeometry(2, 2), this.material)
  private target = new WebGLRenderTarget(1, 1)

  constructor(private readonly renderer: WebGLRenderer) {
    this.quad.frustumCulled = false
    this.scene.add(this.quad)
  }

  /** `square` of a texture that shows a picture of `size`: RGBA from the top row down, or null when it cannot be read. */
  async read(picture: Texture, size: Size, square: Square): Promise<ArrayBuffer | null> {
    const { x, y, side } = square
    if (this.target.width !== side) {
      this.target.dispose()
      this.target = new WebGLRenderTarget(side, side, { depthBuffer: false })
    }
    const uniforms = this.material.uniforms as { picture: { value: Texture }; window: { value: Vector4 } }
    uniforms.picture.value = picture
    uniforms.window.value.set(x / size.width, 1 - (y + side) / size.height, side / size.width, side / size.height)
    const { xr } = this.renderer
    const before = this.renderer.getRenderTarget()
    // Outside XR for one draw: three.js would otherwise render it once per eye, into the headset's own target.
    xr.enabled = false
    this.renderer.setRenderTarget(this.target)
    this.renderer.render(this.scene, this.camera)
    this.renderer.setRenderTarget(before)
    xr.enabled = true
    const rgba = new Uint8Array(side * side * 4)
    try {
      await this.renderer.readRenderTargetPixelsAsync(this.target, 0, 0, side, side, rgba)
    } catch {
      return null
    }
    return rgba.buffer
  }

  dispose(): void {
    this.target.dispose()
    this.material.dispose()
    this.quad.geometry.dispose()
  }
}
