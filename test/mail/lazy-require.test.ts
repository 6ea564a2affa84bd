/** Libraries that are loaded with the first mail that needs them: once, and never as a fault of that mail. */
import { expect, test, vi } from 'vitest';
import { isFailure } from '../../src/errors.ts';
import { lazyRequire } from '../../src/mail/lazy-require.ts';

test('what is made is made when it is asked for, and once', () => {
  const make = vi.fn(() => ({}));
  const get = lazyRequire(make);
  expect(make).not.toHaveBeenCalled();
  expect(get()).toBe(get());
  expect(make).toHaveBeenCalledTimes(1);
});

test('a library that is not there is no fault of the mail, and is tried again with the next one', () => {
  let name = 'a-library-that-nobody-has-written';
  const get = lazyRequire((require): unknown => require(name));
  const isUnavailable = (error: unknown) => isFailure(error, 'parser_unavailable');
  expect(get).toThrow(expect.toSatisfy(isUnavailable));
  name = 'node:path';
  expect(get()).toHaveProperty('join');
});
