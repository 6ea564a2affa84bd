/** Lazy loading: a library is loaded once, on first use; a missing one is no fault of the message. */
import { expect, test, vi } from 'vitest';
import { isFailure } from '../../src/errors.ts';
import { lazyRequire } from '../../src/mail/lazy-require.ts';

test('the value is made once, on first use', () => {
  const make = vi.fn(() => ({}));
  const get = lazyRequire(make);
  expect(make).not.toHaveBeenCalled();
  expect(get()).toBe(get());
  expect(make).toHaveBeenCalledTimes(1);
});

test('a missing library is parser_unavailable, and is tried again by the next message', () => {
  let name = 'a-library-that-nobody-has-written';
  const get = lazyRequire((require): unknown => require(name));
  const isUnavailable = (error: unknown) => isFailure(error, 'parser_unavailable');
  expect(get).toThrow(expect.toSatisfy(isUnavailable));
  name = 'node:path';
  expect(get()).toHaveProperty('join');
});
