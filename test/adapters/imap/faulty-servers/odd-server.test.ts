/**
 * A complete session with hoodiecrow, a demonstration server in JavaScript.
 */
import { createRequire } from 'node:module';
import type { AddressInfo, Server } from 'node:net';
import { expect, test } from 'vitest';
import { credential, fetchAll, openSession, plainTo, sessions } from '../setting.ts';

type Hoodiecrow = {
  listen(port: number, host: string, ready: () => void): void;
  close(done: () => void): void;
  server: Server;
};
const hoodiecrow = createRequire(import.meta.url)('hoodiecrow-imap') as (options: object) => Hoodiecrow;

test.each([
  ['with UIDPLUS and MOVE', ['ID', 'AUTH-PLAIN', 'NAMESPACE', 'ENABLE', 'CONDSTORE', 'UIDPLUS', 'MOVE']],
  ['with nothing but the base', []],
])('a session works on a server %s', async (_what, plugins) => {
  const raw = (subject: string): { raw: string } => ({ raw: `Subject: ${subject}\r\n\r\nHello.` });
  const storage = {
    INBOX: { messages: [raw('a'), raw('b'), raw('c')] },
    '': { separator: '/', folders: { Done: {} } },
  };
  const server = hoodiecrow({ plugins, storage, users: { ada: { password: 'pw' } } });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const connection = plainTo((server.server.address() as AddressInfo).port);
  try {
    const report = await sessions.probe(connection, credential(), () => undefined);
    expect(report.folders).toEqual(expect.arrayContaining(['INBOX', 'Done']));
    await using session = await openSession(connection);
    expect(await session.listAbove(1)).toEqual([2, 3]);
    expect(await fetchAll(session, [1, 3])).toEqual([
      [1, raw('a').raw],
      [3, raw('c').raw],
    ]);
    expect((await session.sizes([2])).map(({ uid, sizeBytes }) => [uid, sizeBytes])).toEqual([
      [2, raw('b').raw.length],
    ]);
    expect(Buffer.from((await session.fetchHeader(2, 100)) ?? []).toString()).toContain('Subject: b');
    await session.apply({ kind: 'seen' }, [1]);
    await session.apply({ kind: 'move', folder: 'Done' }, [1]);
    await session.apply({ kind: 'delete' }, [2]);
    expect((await session.listAbove(0)).at(-1)).toBe(3);
  } finally {
    await new Promise<void>((resolve) => server.close(resolve));
  }
});
