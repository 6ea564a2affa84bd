/**
 * Cross-check of a listing: a SEARCH that names nothing is compared with EXISTS, UIDNEXT and the last message.
 */
import { expect, test } from 'vitest';
import { failureOf } from '../../../support/promises.ts';
import { readDialogue } from '../../../support/servers/dialogues/dialogue.ts';
import { type ScriptedServer, startScriptedServer } from '../scripted-server.ts';
import { openSession, plainTo } from '../setting.ts';

const played = async (name: string): Promise<ScriptedServer> => startScriptedServer(await readDialogue(name));
const asked = ({ lines }: ScriptedServer) =>
  lines.filter((line) => /SEARCH|FETCH/.test(line)).map((line) => line.replace(/^\S+ /, ''));

test('where n:* names no message, a set of numbers is asked for', async () => {
  await using server = await played('search-without-star');
  await using session = await openSession(plainTo(server.port));
  expect(await session.listAbove(1)).toEqual([2, 3]);
  expect(asked(server)).toEqual(['UID SEARCH UID 2:*', 'UID SEARCH UID 2:4294967295']);
});

test('a quiet poll there is one SEARCH', async () => {
  await using server = await played('search-without-star');
  await using session = await openSession(plainTo(server.port));
  expect(await session.listAbove(3)).toEqual([]);
  expect(asked(server)).toEqual(['UID SEARCH UID 4:*']);
});

test.each(['search-finds-nothing', 'shows-no-message'])('%s: a listing of nothing is a failure', async (name) => {
  await using server = await played(name);
  await using session = await openSession(plainTo(server.port));
  const failure = await failureOf(session.listAbove(0));
  expect(failure).toMatchObject({
    code: 'server_protocol_error',
    message: 'The folder has 3 messages, and the server lists none of them above UID 0.',
    hint: expect.stringContaining('tell its operator'),
  });
});

test('a folder whose last messages were expunged has nothing new', async () => {
  await using server = await played('last-messages-expunged');
  await using session = await openSession(plainTo(server.port));
  expect(await session.listAbove(3)).toEqual([]);
});

test('a SEARCH by date that names nothing is compared with the date of the last message', async () => {
  await using server = await played('since-finds-nothing');
  await using session = await openSession(plainTo(server.port));
  expect(await session.uidBefore(Date.parse('2026-11-24T09:00:00Z'))).toBe(1);
  expect(await session.uidBefore(Date.parse('2026-11-25T09:00:00Z'))).toBe(3);
});
