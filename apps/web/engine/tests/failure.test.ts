import { describe, expect, it } from 'vitest'

import { asFailure, Failure } from '../src/failure'

describe('asFailure', () => {
  it.each([
    new RangeError('Array buffer allocation failed'),
    new RangeError('Invalid typed array length: 60000000000'),
    new Error('failed to call OrtRun(). ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc'),
    new RangeError('WebAssembly.Memory(): could not allocate memory'),
    'Aborted(OOM)',
  ])('knows memory that has run out: %s', (error) => {
    expect(asFailure(error).code).toBe('memory')
  })

  it('keeps one line of anything else', () => {
    expect(asFailure(new Error('broken\nat line 3'), 'model')).toMatchObject({ code: 'model', message: 'Error: broken' })
  })

  it('leaves a failure as it is', () => {
    const failure = new Failure('network', 'gone')
    expect(asFailure(failure)).toBe(failure)
  })
})
