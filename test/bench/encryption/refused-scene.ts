/**
 * Logins that go wrong: a password that the server refuses, and connections that break at every stage of a login.
 *
 * Fault proxies cut connections after so many bytes of the server: some before the password is sent, some between it
 * and the answer. Neither password may be in the memory of the daemon afterwards, nor in its log.
 */
import { connect } from 'node:net';
import { ImapFlow } from 'imapflow';
import { startFaultProxy } from '../../support/faults/proxy.ts';
import { newCanary } from '../../support/leaks/canary.ts';
import type { Daemon } from '../../support/processes/daemon.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { addMailboxes, mailboxOn, type NewRow } from '../many-mailboxes.ts';
import { enable, openSetting } from '../setting.ts';
import { daemonEnv, type Place, type SceneReport, sceneAtRest, startSearchable } from './memory-scene.ts';

const refusedMailboxes = 20;
const failuresEach = 3;
const timeoutMs = 120_000;
/** Of the bytes that a server sends up to the end of a login over TLS. */
const sharesOfTls = [0.3, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95] as const;
/** Before the server asks for the password, amid its asking, right behind it, and amid its answer. */
const bytesBehindGreeting = [0, 2, 4, 5, 20] as const;

export async function refusedScene(place: Place): Promise<readonly SceneReport[]> {
  const { dovecot, mariadb, canary, progress } = place;
  await using undo = new AsyncDisposableStack();
  const refused = newCanary();
  const rows: NewRow[] = Array.from({ length: refusedMailboxes }, (_, index) =>
    mailboxOn(dovecot, index % 2 === 0 ? 'implicit' : 'none', `refused-${index}`, refused),
  );
  rows.push(...(await cutMailboxes(dovecot, canary, undo)));
  const setting = undo.use(await openSetting(mariadb, daemonEnv));
  await addMailboxes(setting.databaseUrl, rows);
  await setting.succeed(enable);
  const daemon = undo.use(startSearchable(setting));
  progress(`${rows.length} mailboxes whose logins are refused or cut off, ${failuresEach} times each`);
  await untilFailed(daemon, rows.length);
  return [
    await sceneAtRest('refused logins', daemon, setting, { canary: refused, stored: 'sealed' }),
    await sceneAtRest('logins that were cut off', daemon, setting, { canary, stored: 'sealed' }),
  ];
}

/** One mailbox for each cut, behind a proxy of its own. */
async function cutMailboxes(dovecot: Dovecot, canary: Uint8Array, undo: AsyncDisposableStack): Promise<NewRow[]> {
  const greetingBytes = await bytesOfGreeting(dovecot);
  const loginBytes = await bytesOfTlsLogin(dovecot, canary);
  const cuts = [
    ...bytesBehindGreeting.map((bytes) => ({ tls: 'none' as const, bytes: greetingBytes + bytes })),
    ...sharesOfTls.map((share) => ({ tls: 'implicit' as const, bytes: Math.round(loginBytes * share) })),
  ];
  const rows: NewRow[] = [];
  for (const { tls, bytes } of cuts) {
    const target = { host: '127.0.0.1', port: tls === 'none' ? dovecot.port : dovecot.tlsPort };
    const proxy = undo.use(await startFaultProxy(target));
    proxy.fault = { kind: 'cut_after', bytes };
    rows.push({ ...mailboxOn(dovecot, tls, `cut-${tls}-${bytes}`, canary), port: proxy.port });
  }
  return rows;
}

function bytesOfGreeting({ port }: Dovecot): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('error', reject);
    socket.once('data', (greeting: Buffer) => {
      socket.destroy();
      resolve(greeting.length);
    });
  });
}

async function bytesOfTlsLogin(dovecot: Dovecot, canary: Uint8Array): Promise<number> {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
  const auth = { user: dovecot.newUser(), pass: Buffer.from(canary).toString('latin1') };
  const { host, caPem } = dovecot;
  const client = new ImapFlow({ host, port: proxy.port, secure: true, tls: { ca: caPem }, auth, logger: false });
  client.on('error', () => client.close());
  await client.connect();
  const bytes = proxy.bytesFromServer;
  client.close();
  return bytes;
}

/** Every mailbox has failed so many times, and none has succeeded. */
async function untilFailed(daemon: Daemon, mailboxes: number): Promise<void> {
  const failures = new Map<unknown, number>();
  let looked = 0;
  await daemon.waitFor(() => {
    for (; looked < daemon.lines.length; looked += 1) {
      const line = daemon.lines[looked];
      if (line?.['event'] === 'poll.empty') throw new Error(`a login succeeded: ${JSON.stringify(line)}`);
      if (line?.['event'] === 'poll.failed') failures.set(line['mailbox'], (failures.get(line['mailbox']) ?? 0) + 1);
    }
    return failures.size === mailboxes && [...failures.values()].every((count) => count >= failuresEach);
  }, timeoutMs);
}
