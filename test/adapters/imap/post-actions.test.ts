/**
 * Actions after a fetch: idempotent, and never on messages of other clients.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { failureOf } from '../../support/promises.ts';
import { readDialogue } from '../../support/servers/dialogues/dialogue.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type Script, startScriptedServer } from './scripted-server.ts';
import { connectionTo, mail, openSession, plainTo } from './setting.ts';

let dovecot: Dovecot;
let simple: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
  simple = await startDovecot({ settings: 'imap_capability = IMAP4rev1 NAMESPACE UIDPLUS' });
});

afterAll(async () => {
  await dovecot[Symbol.asyncDispose]();
  await simple[Symbol.asyncDispose]();
});

async function filled(server: Dovecot): Promise<string> {
  const user = server.newUser();
  await server.append(user, 'INBOX', [mail('a'), mail('b'), mail('c')]);
  await server.append(user, 'INBOX', [mail('of somebody else')], { flags: ['\\Deleted'] });
  return user;
}

async function left(server: Dovecot, user: string, folder = 'INBOX'): Promise<[number, string[]][]> {
  return [...(await server.listFlags(user, folder))].map(([uid, flags]) => [uid, [...flags]]);
}

const others: [number, string[]] = [4, ['\\Deleted']];

test('seen sets the read flag, and again does no harm', async () => {
  const user = await filled(dovecot);
  await using session = await openSession(connectionTo(dovecot, user));
  await session.apply({ kind: 'seen' }, [1, 3, 77]);
  await session.apply({ kind: 'seen' }, [3, 1]);
  expect(await left(dovecot, user)).toEqual([[1, ['\\Seen']], [2, []], [3, ['\\Seen']], others]);
});

test('leave does nothing, and nothing is done for no UID', async () => {
  const user = await filled(dovecot);
  await using session = await openSession(connectionTo(dovecot, user));
  await session.apply({ kind: 'leave' }, [1, 2]);
  await session.apply({ kind: 'delete' }, []);
  expect((await left(dovecot, user)).length).toBe(4);
});

test('delete removes the messages and leaves those that others have marked', async () => {
  const user = await filled(dovecot);
  await using session = await openSession(connectionTo(dovecot, user));
  await session.apply({ kind: 'delete' }, [1, 3]);
  await session.apply({ kind: 'delete' }, [1, 3, 99]);
  expect(await left(dovecot, user)).toEqual([[2, []], others]);
});

test('move makes the target folder when it is missing, and moves on in it', async () => {
  const user = await filled(dovecot);
  await using session = await openSession(connectionTo(dovecot, user));
  await session.apply({ kind: 'move', folder: 'Erledigt/Grüße' }, [1]);
  await session.apply({ kind: 'move', folder: 'Erledigt/Grüße' }, [1, 2]);
  expect(await left(dovecot, user)).toEqual([[3, []], others]);
  expect((await left(dovecot, user, 'Erledigt/Grüße')).length).toBe(2);
});

test('without MOVE a message is copied and removed, only once over several attempts', async () => {
  const user = await filled(simple);
  await using session = await openSession(connectionTo(simple, user));
  await session.apply({ kind: 'move', folder: 'Done' }, [1, 2]);
  await session.apply({ kind: 'move', folder: 'Done' }, [1, 2, 3]);
  expect(await left(simple, user)).toEqual([others]);
  expect((await left(simple, user, 'Done')).length).toBe(3);
});

test('without UIDPLUS messages are marked as deleted, and no EXPUNGE is ever sent', async () => {
  await using server = await startScriptedServer(await readDialogue('without-uidplus'));
  await using session = await openSession(plainTo(server.port));
  await session.apply({ kind: 'delete' }, [1, 2]);
  await session.apply({ kind: 'move', folder: 'Done' }, [1, 2]);
  await session.close();
  expect(server.lines.filter((line) => /EXPUNGE|CLOSE/.test(line))).toEqual([]);
  const did = server.lines.filter((line) => /STORE|COPY/.test(line)).map((line) => line.replace(/^\S+ /, ''));
  expect(did).toEqual([
    'UID STORE 1:2 +FLAGS.SILENT (\\Deleted)',
    'UID COPY 2 Done',
    'UID STORE 1:2 +FLAGS.SILENT (\\Deleted)',
  ]);
});

test.each([
  ['seen', 'UID STORE'],
  ['delete', 'UID STORE'],
  ['delete', 'UID EXPUNGE'],
  ['move', 'UID MOVE'],
] as const)('when the server refuses %s at %s, that is no success', async (kind, refusedCommand) => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === refusedCommand) say(`${tag} NO [OVERQUOTA] Not enough room for that`);
    return command === refusedCommand;
  };
  const capabilities = 'IMAP4rev1 AUTH=PLAIN UIDPLUS MOVE';
  await using server = await startScriptedServer({ capabilities, script });
  await using session = await openSession(plainTo(server.port));
  const refused = await failureOf(session.apply(kind === 'move' ? { kind, folder: 'INBOX' } : { kind }, [1]));
  expect(refused.code).toBe('server_refused');
  expect(refused.fields).toEqual({ status: 'NO', response_code: 'OVERQUOTA' });
});

test('a target folder that the server does not make is named, with the separator that its names have', async () => {
  await using server = await startDovecot({ settings: 'namespace inbox {\n  separator = .\n}' });
  const user = await filled(server);
  await using session = await openSession(connectionTo(server, user));
  const refused = await failureOf(session.apply({ kind: 'move', folder: 'Büro/Done' }, [1]));
  expect(refused).toMatchObject({
    code: 'server_refused',
    message: 'The server refused to create the folder "Büro/Done" (NO [CANNOT]). Its hierarchy separator is ".".',
    hint: expect.stringContaining('--on-success move:FOLDER'),
  });
});

test('the target folder is made only when the server says that it is missing', async () => {
  let isThere = false;
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'UID MOVE') say(isThere ? `${tag} OK` : `${tag} NO [TRYCREATE] first make it`);
    if (command === 'CREATE') isThere = true;
    return command === 'UID MOVE';
  };
  await using server = await startScriptedServer({ capabilities: 'IMAP4rev1 AUTH=PLAIN UIDPLUS MOVE', script });
  await using session = await openSession(plainTo(server.port));
  for (const uid of [1, 2]) await session.apply({ kind: 'move', folder: 'Done' }, [uid]);
  expect(server.lines.filter((line) => / CREATE /.test(line)).length).toBe(1);
});

test('a folder that forbids the read flag is refused, not taken for done', async () => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'SELECT')
      say(
        '* 3 EXISTS',
        '* OK [UIDVALIDITY 7] y',
        '* OK [UIDNEXT 4] y',
        '* OK [PERMANENTFLAGS ()] y',
        `${tag} OK [READ-ONLY] y`,
      );
    return command === 'SELECT';
  };
  await using server = await startScriptedServer({ script });
  await using session = await openSession(plainTo(server.port));
  expect((await failureOf(session.apply({ kind: 'seen' }, [1]))).code).toBe('server_refused');
});
