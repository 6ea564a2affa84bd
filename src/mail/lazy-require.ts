/**
 * What only some mails need of libraries: made when the first such mail comes, not when a parse thread starts.
 *
 * Reading a mail waits for nothing, so a library is loaded with `require`, which has it at once, and kept compiled for the
 * next start. One that is not there, since an upgrade has replaced the files of a running process, is no fault of the mail:
 * `parser_unavailable`.
 */
import { createRequire, flushCompileCache } from 'node:module';
import { causeCode, Failure } from '../errors.ts';

const load = createRequire(import.meta.url);

/** What `make` makes, once. It is given what loads a library by its name. */
export function lazyRequire<T>(make: (require: typeof load) => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => {
    if (made !== null) return made.value;
    made = { value: loaded(make) };
    // Threads are ended, and do not come to the end where it would be written.
    flushCompileCache();
    return made.value;
  };
}

function loaded<T>(make: (require: typeof load) => T): T {
  try {
    return make(load);
  } catch (cause) {
    const fields = { cause: causeCode(cause) };
    throw new Failure('parser_unavailable', 'a library that this mail needs cannot be loaded', { fields, cause });
  }
}
