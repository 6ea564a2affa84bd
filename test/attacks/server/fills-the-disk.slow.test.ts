/**
 * A mail server that sends mail until the disk is full: its mailbox rests before that, with one line that says why, and
 * mail of others is stored; nothing of either is lost. The disk is a small file system, which takes root to mount.
 */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { startScriptedMailbox } from '../../cases/scripted-mailbox.ts';
import { smallDisk } from '../../support/faults/small-disk.ts';
import { count, mail, opened, openInstance, readiness } from '../../support/instance.ts';
import { named } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';
import { startMariadb } from '../../support/servers/mariadb.ts';

const isRoot = process.getuid?.() === 0;
/** What no compression makes small, on a disk of 48 MB. */
const large = (id: string) =>
  mail(
    id,
    randomBytes(500_000)
      .toString('hex')
      .replace(/(.{76})/g, '$1\r\n'),
  );

test.skipIf(!isRoot)(
  'a flooded disk keeps room for others (needs root to mount one)',
  { timeout: 90_000 },
  async () => {
    await using disk = await smallDisk();
    await using mariadb = await startMariadb();
    const flood = Array.from({ length: 100 }, (_, index) => large(`flood-${index}`));
    await using flooding = await startScriptedMailbox({ sources: flood });
    await using honest = await startScriptedMailbox({ sources: [mail('first')] });
    await using instance = await openInstance({ database: await mariadb.createDatabase(), dataDir: disk.path });
    const add = (port: number, user: string) => {
      const connection = { host: '127.0.0.1', port, tls: 'none', folder: 'INBOX', user, allowPlaintext: true } as const;
      return instance.add({ host: 'localhost', tlsPort: port, caPem: '' }, user, {
        ...{ connection: { ...connection, caPem: null, fingerprint: null }, postAction: { kind: 'leave' } },
      });
    };
    const floods = await add(flooding.port, 'floods');
    const daemon = instance.start();
    const line = await daemon.waitFor(named('mailbox.flooding'), 60_000);
    expect(line).toMatchObject({ mailbox: floods.name, error: { code: 'mailbox_flooding' } });
    const stored = opened(daemon, floods.name);
    expect(stored).toBeGreaterThan(0);
    const other = await add(honest.port, 'honest');
    await until('the honest mail', () => opened(daemon, other.name) === 1 || null);
    honest.arrive(large('second'));
    await until('the large one', () => opened(daemon, other.name) === 2 || null);
    expect([count(daemon, 'disk.failed'), opened(daemon, floods.name)]).toEqual([0, stored]);
    const { disk: check, mailboxes } = (await readiness(daemon)).body.checks;
    expect(check.status).toBe('warning');
    const [failing] = mailboxes.list.filter(({ status }) => status !== 'ok');
    expect(failing).toMatchObject({ mailbox: floods.name, hint: expect.stringContaining('data_dir') });
    expect(failing?.reason).toMatch(/^mailbox_flooding: Mailbox \S+ stored .* within the hour, and only .* are free/);
  },
);
