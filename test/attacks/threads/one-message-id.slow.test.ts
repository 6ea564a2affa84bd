/**
 * An attacker sends a hundred messages with one Message-ID and Date, whose texts are made to be slow to compare: /livez
 * answers all the time, another mailbox gets its mail meanwhile, and after a kill the next start finishes.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { runCommand, startDaemon } from '../../support/processes/daemon.ts';
import { startDovecot } from '../../support/servers/dovecot.ts';
import { freePort } from '../../support/servers/programs.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const count = 100;
const silentMsMax = 2_500;
const deadlineMs = 60_000;

const mail = (from: string, id: string, text: string) =>
  Buffer.from(
    `From: ${from}\r\nTo: support@desk.test\r\nSubject: hello\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n` +
      `Message-ID: <${id}>\r\n\r\n${text.match(/.{1,76}/g)?.join('\r\n') ?? ''}\r\n`,
  );
/** A long text in which each of the others stands almost. */
const slowText = (n: number) =>
  n % 2 === 0 ? `${n}x${'a'.repeat(63_000)}` : `${'a'.repeat(10 + n)}b${'a'.repeat(31_500)}`;

test('a hundred messages that are slow to compare hold up no other mailbox, before and after a kill', async () => {
  await using dovecot = await startDovecot();
  await using folder = await temporaryFolder('one-id');
  const listen = `127.0.0.1:${await freePort()}`;
  const data = join(folder.path, 'data');
  const env = { TICKETMAILD_DATA_DIR: data, TICKETMAILD_HTTP_LISTEN: listen, TICKETMAILD_POLL_INTERVAL_S: '5' };
  const [flooded, other] = [dovecot.newUser(), dovecot.newUser()];
  for (const [name, user] of Object.entries({ flooded, other })) {
    await dovecot.append(user, 'INBOX', [mail('first@customer.test', `first-${name}@customer.test`, 'First.')]);
    const server = ['--host', 'localhost', '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
    const args = ['--name', name, ...server, '--user', user, '--since', 'all', '--password-stdin'];
    expect(await runCommand(['mailbox', 'add', ...args], { env, input: 'pw\n' })).toMatchObject({ code: 0 });
  }
  const handled = () => {
    using database = new DatabaseSync(join(data, 'ticketmaild.db'), { readOnly: true });
    const rows = database
      .prepare('select name, count(*) as n from outcome join mailboxes on mailboxes.id = mailbox_id group by name')
      .all() as { name: string; n: number }[];
    return Object.fromEntries(rows.map(({ name, n }) => [name, n]));
  };
  const attack = Array.from({ length: count }, (_, n) => mail('mallory@evil.test', 'one@evil.test', slowText(n)));
  let [inFlooded, inOther] = [1, 1];
  for (const start of ['first', 'after a kill']) {
    await using daemon = startDaemon(['run'], { env });
    await daemon.waitFor(({ event }) => event === 'daemon.ready');
    await dovecot.append(flooded, 'INBOX', attack);
    await dovecot.append(other, 'INBOX', [mail('ada@customer.test', `${start.length}@customer.test`, 'Help.')]);
    [inFlooded, inOther] = [inFlooded + count, inOther + 1];
    const beganAt = performance.now();
    while (handled()['flooded'] !== inFlooded || handled()['other'] !== inOther) {
      expect(performance.now() - beganAt, `${start}: ${JSON.stringify(handled())}`).toBeLessThan(deadlineMs);
      const live = await fetch(`http://${listen}/livez`, { signal: AbortSignal.timeout(silentMsMax) });
      expect(live.status).toBe(200);
      await wait(50);
    }
    daemon.signal('SIGKILL');
    await daemon.exit;
  }
});
