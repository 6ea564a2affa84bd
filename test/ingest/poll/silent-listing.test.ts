/**
 * A poll of a folder that has messages and lists none: the mailbox fails with a reason, and a quiet poll costs no more.
 */
import { expect, test } from 'vitest';
import { reconcileFolder } from '../../../src/ingest/repair/reconcile.ts';
import { inClear, newMessages } from '../../cases/scene.ts';
import { type ScriptedMailbox, startScriptedMailbox } from '../../cases/scripted-mailbox.ts';
import { type TestApp, testApp } from '../../support/app.ts';
import { readDialogue } from '../../support/servers/dialogues/dialogue.ts';

const never = new AbortController().signal;

function boxOn(on: TestApp, { port }: ScriptedMailbox) {
  return on.addMailbox({ host: 'localhost', tlsPort: 1, caPem: '' }, 'ada', inClear(port, 'ada'));
}

/** Commands of the last session, without tags and texts of the login. */
function lastSession({ lines }: ScriptedMailbox): readonly string[] {
  const from = lines.findLastIndex((line) => / AUTHENTICATE /.test(line));
  return lines
    .slice(from)
    .flatMap((line) => /^\S+ (SELECT|EXAMINE|(?:UID )?(?:SEARCH|FETCH)|STATUS)/.exec(line)?.[1] ?? []);
}

test('a mailbox whose server lists none of its messages is failing, and reconcile does not call it empty', async () => {
  await using server = await startScriptedMailbox({
    sources: newMessages(3),
    script: (await readDialogue('search-finds-nothing')).script,
  });
  await using on = await testApp(null);
  const mailbox = await boxOn(on, server);
  const refused = { code: 'server_protocol_error', hint: expect.stringContaining('index of the folder') };
  await expect(on.pollOnce(mailbox, never)).rejects.toMatchObject(refused);
  expect((await on.app.store.listMailboxes())[0]?.health).toMatchObject({ lastError: refused, failures: 1 });
  await expect(reconcileFolder(mailbox, on.app, never)).rejects.toMatchObject(refused);
});

test('a server that takes n:* for nothing is read, and a quiet poll of it is SELECT and one SEARCH', async () => {
  const { script } = await readDialogue('search-without-star');
  await using server = await startScriptedMailbox({ sources: newMessages(3), script });
  await using on = await testApp(null);
  const mailbox = await boxOn(on, server);
  expect((await on.pollOnce(mailbox, never)).outcomes.ticket_opened).toBe(3);
  await on.pollOnce(mailbox, never);
  expect(lastSession(server).filter((command) => command !== 'UID FETCH')).toEqual(['SELECT', 'UID SEARCH']);
});

test('a quiet poll of any other server is SELECT and one SEARCH', async () => {
  await using server = await startScriptedMailbox({ sources: newMessages(3) });
  await using on = await testApp(null);
  const mailbox = await boxOn(on, server);
  await on.pollOnce(mailbox, never);
  await on.pollOnce(mailbox, never);
  expect(lastSession(server).filter((command) => command !== 'UID FETCH')).toEqual(['SELECT', 'UID SEARCH']);
});
