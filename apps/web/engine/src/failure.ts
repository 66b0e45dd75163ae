/** What can go wrong in a way that the user should read about: a code for the program, a line for the person. */

export type FailureCode =
  | 'manifest' // the bundle's manifest is missing or is not one of a bundle for the web
  | 'damaged' // a file is not the one that was exported
  | 'network' // a file cannot be had
  | 'memory' // the browser has no more memory to give
  | 'browser' // the browser lacks something that is needed
  | 'model' // a graph does not load or does not run
  | 'prompt' // a question that cannot be asked
  | 'conversation' // the context holds no more of the questions and answers before it
  | 'picture' // what is not a picture, or a square that is not in it
  | 'cancelled' // loading was ended, or the model closed

/** An error whose message is written for the user: what is wrong and how to mend it. A page may have codes of its own. */
export class Failure<Code extends string = FailureCode> extends Error {
  override readonly name = 'Failure'

  constructor(
    readonly code: Code,
    message: string,
  ) {
    super(message)
  }
}

/** Any thrown value as a {@link Failure}; browsers and WASM report memory that has run out in several ways. */
export function asFailure<Code extends string = never>(
  error: unknown,
  code: FailureCode | Code = 'model',
): Failure<FailureCode | Code> {
  if (error instanceof Failure) return error
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  if (OUT_OF_MEMORY.test(text)) {
    return new Failure('memory', 'This device ran out of memory. Close other tabs, or use a smaller model.')
  }
  const firstLine = text.split('\n', 1)[0] ?? text
  return new Failure(code, firstLine.slice(0, 200))
}

const OUT_OF_MEMORY =
  /out of memory|bad_alloc|allocation failed|could not allocate|cannot enlarge memory|failed to allocate|OOM|Invalid (typed )?array length/i
