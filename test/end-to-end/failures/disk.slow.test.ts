/**
 * A disk under data_dir that is full, or that is read-only: polls wait, the check says why, nothing is lost, and all
 * of it comes in as soon as there is room again. The disk is a small file system of its own, which takes root to mount.
 */

import { randomBytes } from 'node:crypto';
import { readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startFaultProxy } from '../../support/faults/proxy.ts';
import { smallDisk } from '../../support/faults/small-disk.ts';
import {
  count,
  type Instance,
  mail,
  metrics,
  opened,
  openInstance,
  readiness,
  untilWell,
} from '../../support/instance.ts';
import { named } from '../../support/processes/daemon.ts';

import { until } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { runProgram } from '../../support/servers/programs.ts';

const isRoot = process.getuid?.() === 0;
const stack = new AsyncDisposableStack();
let dovecot: Dovecot;
let mariadb: Mariadb;

beforeAll(async () => {
  dovecot = stack.use(await startDovecot());
  mariadb = stack.use(await startMariadb());
});

afterAll(() => stack.disposeAsync());

/** Takes what is left of it, to the last block, or leaves `freeBytes`. */
async function fill(path: string, freeBytes = 0): Promise<void> {
  const { bavail, bsize } = await statfs(path);
  await writeFile(join(path, 'filler'), new Uint8Array(bavail * bsize - freeBytes)).catch(() => undefined);
}

/** Warnings and errors, without those of the configuration. */
const troubles = (daemon: ReturnType<Instance['start']>) =>
  daemon.lines.filter(({ level }) => level === 'warn' || level === 'error').map(({ event }) => event);

const diskCheck = async (daemon: ReturnType<Instance['start']>) => (await readiness(daemon)).body.checks.disk;

async function isFailingFor(daemon: ReturnType<Instance['start']>, code: string): Promise<void> {
  const { status, body } = await until(`${code} is reported`, async () => {
    const answer = await readiness(daemon);
    return answer.body.checks.disk.status === 'failing' ? answer : null;
  });
  expect(status).toBe(503);
  expect(body.checks.disk.reason).toMatch(new RegExp(`^${code}: .*under data_dir`));
  expect(body.checks.disk.hint).toMatch(/data_dir/);
  const text = await metrics(daemon);
  expect(text).toContain(`ticketmaild_check_reason{check="disk",code="${code}"} 1`);
  expect(text).toContain('ticketmaild_check_status{check="disk",status="failing"} 1');
  expect(text).toMatch(/^ticketmaild_ready 0$/m);
}

/** What no compression makes small enough for the rest of a block. */
const large = (id: string) =>
  mail(
    id,
    randomBytes(45_000)
      .toString('hex')
      .replace(/(.{76})/g, '$1\r\n'),
  );

test.skipIf(!isRoot).concurrent(
  'a full disk keeps polls waiting, and nothing is lost (needs root to mount one)',
  async () => {
    await using disk = await smallDisk();
    await using proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
    await using instance = await openInstance({ database: await mariadb.createDatabase(), dataDir: disk.path });
    const user = dovecot.newUser();
    await instance.add({ ...dovecot, tlsPort: proxy.port }, user);
    const daemon = instance.start();
    await dovecot.append(user, 'INBOX', [large('before')]);
    await until('the first mail', () => opened(daemon) === 1 || null);
    expect(await diskCheck(daemon)).toMatchObject({ status: 'warning', free_bytes: expect.any(Number) });
    await fill(disk.path);
    const messages = Array.from({ length: 20 }, (_, index) => large(`full-${index}`));
    await dovecot.append(user, 'INBOX', messages);
    await isFailingFor(daemon, 'disk_full');
    const { accepted } = proxy;
    await sleep(4000);
    expect(proxy.accepted - accepted).toBeLessThanOrEqual(1);
    expect([opened(daemon), count(daemon, 'disk.failed')]).toEqual([1, 1]);
    expect(
      (await dovecot.listFlags(user, 'INBOX'))
        .values()
        .filter((flags) => flags.has('\\Seen'))
        .toArray(),
    ).toHaveLength(1);
    await rm(join(disk.path, 'filler'));
    await daemon.waitFor(named('disk.recovered'));
    await until('the others', () => opened(daemon) === 21 || null);
    await untilWell(daemon);
    expect((await instance.command('reconcile')).code).toBe(0);
    expect(count(daemon, 'message.quarantined')).toBe(0);
  },
  60_000,
);

test.skipIf(!isRoot).concurrent(
  'a file system that became read-only keeps polls waiting (needs root to mount one)',
  async () => {
    await using disk = await smallDisk();
    await using instance = await openInstance({ database: await mariadb.createDatabase(), dataDir: disk.path });
    const user = dovecot.newUser();
    await instance.add(dovecot, user);
    const daemon = instance.start();
    await dovecot.append(user, 'INBOX', [large('before')]);
    await until('the first mail', () => opened(daemon) === 1 || null);
    await makeReadOnly(disk.path);
    await isFailingFor(daemon, 'disk_failed');
    await dovecot.append(user, 'INBOX', [large('meanwhile'), large('meanwhile-too')]);
    await sleep(2500);
    expect(opened(daemon)).toBe(1);
    await runProgram('umount', ['--lazy', disk.path]);
    await daemon.waitFor(named('disk.recovered'));
    await until('the others', () => opened(daemon) === 3 || null);
    await untilWell(daemon);
    expect(await readdir(disk.path)).not.toContainEqual(expect.stringMatching(/^\.disk-probe/));
  },
  60_000,
);

async function makeReadOnly(path: string): Promise<void> {
  await runProgram('mount', ['--bind', path, path]);
  await runProgram('mount', ['-o', 'remount,bind,ro', path]);
}

/** Both fail together, and one line says why. */
const embeddedKinds = [
  {
    how: 'is full',
    code: 'disk_full',
    begin: (path: string) => fill(path),
    end: (path: string) => rm(join(path, 'filler')),
  },
  {
    how: 'is full but for a small file',
    code: 'disk_full',
    begin: (path: string) => fill(path, 2_000_000),
    end: (path: string) => rm(join(path, 'filler')),
  },
  {
    how: 'became read-only',
    code: 'disk_failed',
    begin: makeReadOnly,
    end: (path: string) => runProgram('umount', ['--lazy', path]),
  },
];

test.skipIf(!isRoot).concurrent.for(embeddedKinds)(
  'a disk with the embedded database that $how: seen within 10 s, in one line, and mail comes in when it works again (needs root)',
  { timeout: 60_000 },
  async ({ code, begin, end }) => {
    await using disk = await smallDisk();
    // Nothing but the disk may make a mailbox due in time.
    const slow = { TICKETMAILD_POLL_INTERVAL_S: '600', TICKETMAILD_POLL_BACKOFF_MAX_S: '600' };
    await using instance = await openInstance({
      dataDir: disk.path,
      env: { ...slow, TICKETMAILD_IDLE_CONNECTIONS_MAX: '10' },
    });
    const users = [dovecot.newUser(), dovecot.newUser()];
    for (const user of users) await instance.add(dovecot, user);
    const daemon = instance.start();
    for (const user of users) await dovecot.append(user, 'INBOX', [large(`before-${user}`)]);
    await until('the first mail', () => opened(daemon) === 2 || null);
    const before = troubles(daemon).length;
    await begin(disk.path);
    const sinceMs = performance.now();
    await isFailingFor(daemon, code);
    expect(performance.now() - sinceMs).toBeLessThan(10_000);
    const { free_bytes: freeBytes } = await diskCheck(daemon);
    if (code === 'disk_full') {
      expect(freeBytes).toBeLessThan(4_000_000);
      expect(await metrics(daemon)).toContain(`ticketmaild_disk_free_bytes ${freeBytes}\n`);
    }
    for (const user of users)
      await dovecot.append(
        ...([user, 'INBOX', Array.from({ length: 10 }, (_, index) => large(`${user}-${index}`))] as const),
      );
    await sleep(16_000);
    expect(troubles(daemon).slice(before)).toEqual(['disk.failed']);
    await end(disk.path);
    const freedMs = performance.now();
    await until('the others', () => opened(daemon) === 22 || null);
    expect(performance.now() - freedMs).toBeLessThan(6000);
    await untilWell(daemon);
    expect(troubles(daemon).slice(before)).toEqual(['disk.failed']);
    expect((await instance.command('reconcile')).code).toBe(0);
  },
);
