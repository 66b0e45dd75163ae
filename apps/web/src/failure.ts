/** What can go wrong in the app: what the engine names, and what a camera and AR do. */

import type { Failure, FailureCode } from 'phantom-edge-web'

export type AppFailureCode =
  | FailureCode
  | 'camera-missing'
  | 'camera-refused'
  | 'camera-busy'
  | 'camera-insecure'
  | 'ar' // the browser has no AR session, or none whose camera the page may see
export type AppFailure = Failure<AppFailureCode>
