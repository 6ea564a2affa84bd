import { expect, test } from 'vitest';
import { runInProcess } from '../command-line.ts';

const none = 'no suggestion';

test.each([
  ['encript status', 'encryption'],
  ['encrypt', 'encryption'],
  ['mailbx list', 'mailbox'],
  ['key rotate', 'encryption rotate'],
  ['key lst', 'key show'],
  ['mailbox rm sales', 'mailbox remove'],
  ['mailbox delete sales', 'mailbox remove'],
  ['mailbox delte sales', 'mailbox remove'],
  ['mailbox ls', 'mailbox list'],
  ['mailbox edit sales', 'mailbox set'],
  ['mailbox disable sales', 'mailbox pause'],
  ['mailbox lst', 'mailbox list'],
  ['quarantine delete 1', 'quarantine discard'],
  ['oauth rm desk', 'oauth revoke'],
  ['admin edit ada', 'admin set-password'],
  ['admin show', 'admin list'],
  ['mailbox constructor', none],
  ['toString', none],
  ['frobnicate', none],
])('%s: %s', async (line, command) => {
  const words = line.split(' ');
  const called: Error = await runInProcess(words).then(
    () => new Error('it ran'),
    (error) => error,
  );
  expect(called.message).toMatch(/^error: unknown command '/);
  expect(/\(Did you mean (.+)\?\)$/.exec(called.message)?.[1] ?? none).toBe(command);
  const { code, err } = await runInProcess(['help', ...words]);
  expect({ code, first: err.split('\n')[0] }).toEqual({ code: 2, first: called.message.replace('error: ', '') });
});
