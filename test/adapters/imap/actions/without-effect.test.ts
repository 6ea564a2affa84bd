/**
 * Post-actions that a server accepts and does not do, and moves that it does by halves: no success, and no second copy.
 */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { PostAction } from '../../../../src/ingest/model.ts';
import { failureOf } from '../../../support/promises.ts';
import { readDialogue } from '../../../support/servers/dialogues/dialogue.ts';
import { type Dovecot, startDovecot } from '../../../support/servers/dovecot.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { type ScriptedServer, startScriptedServer } from '../scripted-server.ts';
import { connectionTo, mail, openSession, plainTo } from '../setting.ts';

const remove: PostAction = { kind: 'delete' };
const move: PostAction = { kind: 'move', folder: 'Done' };
const noEffect = { code: 'server_refused', hint: expect.stringContaining('ACL: s, t and e') };

const played = async (name: string): Promise<ScriptedServer> => startScriptedServer(await readDialogue(name));
const copies = ({ lines }: ScriptedServer): number => lines.filter((line) => line.includes('UID COPY')).length;

/** One session of its own for each attempt, as polls do; the first is no repetition. */
async function attempts(server: ScriptedServer, action: PostAction, count: number): Promise<string[]> {
  const codes: string[] = [];
  for (let at = 0; at < count; at += 1) {
    await using session = await openSession(plainTo(server.port));
    codes.push((await failureOf(session.apply(action, [1], at > 0))).code);
  }
  return codes;
}

describe('scripted', () => {
  test.each([
    ['store-without-effect', 'delete', remove],
    ['store-without-effect', 'move', move],
    ['move-without-effect', 'move', move],
  ])('%s: %s is refused with a reason, and nothing is copied', async (name, _kind, action) => {
    await using server = await played(name);
    await using session = await openSession(plainTo(server.port));
    expect(await failureOf(session.apply(action, [1]))).toMatchObject(noEffect);
    expect(copies(server)).toBe(0);
  });

  test('a STORE that is refused after COPY leaves one copy, however often the move is repeated', async () => {
    await using server = await played('store-refused-after-copy');
    expect(new Set(await attempts(server, move, 6))).toEqual(new Set(['server_refused']));
    expect(copies(server)).toBe(1);
  });

  test('a connection that is cut after COPY leaves one copy, and the next attempt removes the message', async () => {
    await using server = await played('cut-after-copy');
    expect(await attempts(server, move, 1)).toEqual(['connection_lost']);
    await using session = await openSession(plainTo(server.port));
    // The dialogue shows the message afterwards too.
    expect((await failureOf(session.apply(move, [1], true))).code).toBe('server_refused');
    expect(copies(server)).toBe(1);
    expect(server.lines.at(-3)).toContain('UID STORE 1 +FLAGS.SILENT (\\Deleted)');
  });
});

/** Each user has these rights on INBOX, and all on other folders. */
async function withRights(rights: string, more: string, test: (server: Dovecot) => Promise<void>): Promise<void> {
  await using folder = await temporaryFolder('acl');
  // The owner of the mail reads it.
  await chmod(folder.path, 0o755);
  const file = join(folder.path, 'acl');
  await writeFile(file, `INBOX owner ${rights}\nINBOX authenticated ${rights}\n`);
  await using server = await startDovecot({
    settings: `mail_plugins = acl\nplugin {\n  acl = vfile:${file}\n}\n${more}`,
  });
  await test(server);
}

const noMove = 'imap_capability = IMAP4rev1 NAMESPACE UIDPLUS';

describe('Dovecot with ACL', () => {
  test.each([
    ['lrws', ''],
    ['lrwst', ''],
    ['lrws', noMove],
    ['lrwst', noMove],
  ])('with the rights %s nothing counts as deleted or moved; %s', async (rights, more) => {
    await withRights(rights, more, async (server) => {
      const user = server.newUser();
      await server.append(user, 'INBOX', [mail('a'), mail('b'), mail('c')]);
      for (let attempt = 0; attempt < 3; attempt += 1) {
        await using session = await openSession(connectionTo(server, user));
        for (const action of [move, remove])
          expect((await failureOf(session.apply(action, [1, 2, 3], attempt > 0))).code).toBe('server_refused');
      }
      expect((await server.listFlags(user, 'INBOX')).size).toBe(3);
      expect((await server.listFlags(user, 'Done').catch(() => new Map())).size).toBeLessThanOrEqual(3);
    });
  });

  test('a repeated move copies what is not in the target yet, and that alone', async () => {
    await using server = await startDovecot({ settings: noMove });
    const user = server.newUser();
    const messages = [mail('a'), mail('b'), mail('c')];
    await server.append(user, 'INBOX', messages);
    await server.append(user, 'Done', messages.slice(0, 2));
    await using session = await openSession(connectionTo(server, user));
    await session.apply(move, [1, 2, 3], true);
    expect((await server.listFlags(user, 'INBOX')).size).toBe(0);
    expect((await server.listFlags(user, 'Done')).size).toBe(3);
    expect(await session.listAbove(0)).toEqual([]);
  });
});
