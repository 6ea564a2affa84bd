/**
 * Lazy loading of libraries: on first use, not when a parse thread starts, since only some messages need them.
 *
 * Parsing is synchronous, so that a library is loaded with `require`, and stays in the compile cache for the next
 * start. A missing library, after an upgrade has replaced the files of a running process, is no fault of the message:
 * it throws `parser_unavailable`, and the next message tries again.
 */
import { createRequire, flushCompileCache } from 'node:module';
import { causeCode, Failure } from '../errors.ts';

const load = createRequire(import.meta.url);

/** Returns the result of `make`, which is called once, on first use, with the `require` to load a library. */
export function lazyRequire<T>(make: (require: typeof load) => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => {
    made ??= { value: loaded(make) };
    return made.value;
  };
}

function loaded<T>(make: (require: typeof load) => T): T {
  try {
    return make(load);
  } catch (cause) {
    const fields = { cause: causeCode(cause) };
    throw new Failure('parser_unavailable', 'a library that this message needs cannot be loaded', { fields, cause });
  } finally {
    // Parse threads are terminated, and never reach the exit at which Node writes the cache.
    flushCompileCache();
  }
}
