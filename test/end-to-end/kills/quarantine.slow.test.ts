/**
 * Crash safety of `quarantine release`: SIGKILL at growing life times beside a running daemon. Each message is stored
 * once, and marked on the server after that.
 */

import { expect, test } from 'vitest';
import { openCommandLine } from '../../commands/command-line.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import { runCommand, startDaemon } from '../../support/processes/daemon.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

const count = 40;
const killsMin = 4;

function large(id: number): Buffer {
  const head = `From: a${id}@example.test\r\nSubject: large ${id}\r\nMessage-ID: <${id}@example.test>\r\n\r\n`;
  return Buffer.from(head + 'x'.repeat(76).concat('\r\n').repeat(14_000));
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

test('no message is lost or doubled, in mariadb', { timeout: 240_000 }, () => releaseUnderKills('mariadb'));

test('no message is lost or doubled, in sqlite', { timeout: 240_000, tags: ['long'] }, () =>
  releaseUnderKills('sqlite'),
);

async function releaseUnderKills(kind: 'sqlite' | 'mariadb'): Promise<void> {
  const url = kind === 'sqlite' ? {} : { TICKETMAILD_DATABASE_URL: (await mariadb.createDatabase()).url };
  await using cli = await openCommandLine({
    ...url,
    TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1',
    TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1',
    TICKETMAILD_POLL_INTERVAL_S: '1',
    TICKETMAILD_IDLE_CONNECTIONS_MAX: '0',
  });
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    Array.from({ length: count }, (_, index) => large(index)),
  );
  const server = ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
  const settings = ['--name', 'support', '--user', user, '--since', 'all', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', ...server, ...settings], 'pw')).toMatchObject({ code: 0 });
  await using daemon = startDaemon(['run'], { env: cli.env });
  await daemon.waitFor(({ event, uid }) => event === 'message.quarantined' && uid === count);
  let kills = 0;
  for (let lifeMs = 500; ; lifeMs += 100) {
    const release = startDaemon(['quarantine', 'release', '--all'], { env: cli.env });
    const isOver = await Promise.race([release.exit.then(() => true), pause(lifeMs).then(() => false)]);
    release.signal('SIGKILL');
    await release.exit;
    if (isOver) break;
    kills += 1;
  }
  expect(kills).toBeGreaterThanOrEqual(killsMin);
  expect(await runCommand(['quarantine', 'list', '--json'], { env: cli.env })).toMatchObject({ code: 0, stdout: '' });
  const tickets = (await cli.run(['ticket', 'list', '--json'])).json.map(({ subject }) => subject);
  expect(tickets.toSorted()).toEqual(Array.from({ length: count }, (_, index) => `large ${index}`).toSorted());
  expect(await cli.run(['reconcile'])).toMatchObject({ code: 0 });
  expect(await cli.run(['reconcile', 'support', '--json'])).toMatchObject({ code: 0 });
  const seen = async () =>
    [...(await dovecot.listFlags(user, 'INBOX')).values()].filter((set) => set.has('\\Seen')).length;
  for (let tries = 0; tries < 40 && (await seen()) < count; tries += 1) await pause(500);
  expect(await seen()).toBe(count);
}
