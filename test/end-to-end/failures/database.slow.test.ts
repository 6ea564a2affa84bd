/**
 * Failures of the database while the daemon runs: deadlock, a limit that is too small, a restart, read-only, and an
 * outage of ten seconds. Each has its reason on `/readyz` or costs nothing at all, and ends without a restart.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
import { startMariadb } from '../../support/servers/mariadb.ts';

const stack = new AsyncDisposableStack();
let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = stack.use(await startDovecot());
});

afterAll(() => stack.disposeAsync());

type Daemon = ReturnType<Instance['start']>;

/** A server of its own, and a daemon that has fetched its first message. */
async function scene() {
  await using building = new AsyncDisposableStack();
  const mariadb = building.use(await startMariadb());
  const database = await mariadb.createDatabase();
  const instance = building.use(await openInstance({ database }));
  const user = dovecot.newUser();
  const box = await instance.add(dovecot, user);
  const daemon = instance.start();
  const arrive = (...messages: readonly Buffer[]) => dovecot.append(user, 'INBOX', messages);
  await arrive(mail(`first-${user}`));
  await until('the first mail', () => opened(daemon) === 1 || null);
  await untilWell(daemon);
  const undo = building.move();
  return { mariadb, database, instance, user, box, daemon, arrive, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

/** Not ready, and why. */
async function untilUnready(daemon: Daemon, reason: RegExp): Promise<void> {
  await until(`not ready: ${reason}`, async () => {
    const { status, body } = await readiness(daemon);
    return (status === 503 && reason.test(body.checks.database.reason ?? '')) || null;
  });
}

test.concurrent('a deadlock costs a moment: the reply goes in, and no poll fails', async () => {
  await using at = await scene();
  // Heavier than the batch, which therefore is the one to go: it holds the ticket, and wants the mailbox as soon as
  // the batch, which has that, waits for the ticket.
  const rival = at.mariadb.query(
    `use ${at.database.name}; begin;
     insert into schema_migration select 100000 + seq, 0, now() from seq_1_to_2000;
     update ticket set status = 'held'; select get_lock('heavy', 0);
     delimiter //
     begin not atomic
       while (select variable_value from information_schema.global_status
         where variable_name = 'innodb_row_lock_current_waits') = 0 do do sleep(0.02); end while;
     end //
     delimiter ;
     update mailbox_state set failures = failures; rollback;`,
  );
  await until(
    'the rival holds the ticket',
    async () => (await at.mariadb.query(`select is_free_lock('heavy')`)) === '0\n',
  );
  await at.arrive(mail('reply', '', `Cc: ada-first-${at.user}@example.test\r\nIn-Reply-To: <first-${at.user}@x>\r\n`));
  await at.daemon.waitFor(named('message.reply_added'));
  await rival;
  const [, deadlocks] = (await at.mariadb.query(`show status like 'Innodb_deadlocks'`)).trim().split('\t');
  expect(Number(deadlocks)).toBeGreaterThanOrEqual(1);
  expect(count(at.daemon, 'poll.failed')).toBe(0);
  expect((await at.instance.command('reconcile')).code).toBe(0);
  await untilWell(at.daemon);
});

test.concurrent('max_allowed_packet too small: that message alone is kept aside, and once it is raised its like goes in', async () => {
  await using at = await scene();
  const large = (id: string) => mail(id, 'a line of text\r\n'.repeat(100_000));
  // A session that is open keeps the limit that it began with.
  await at.mariadb.query("set global max_allowed_packet = 1048576; kill user app@'127.0.0.1'");
  await at.arrive(mail('small'), large('large'), mail('small-too'));
  const line = await at.daemon.waitFor(named('message.quarantined'));
  expect(line).toMatchObject({ reason: 'row_refused', mailbox: at.box.name });
  await until('the small ones', () => opened(at.daemon) === 3 || null);
  // An answer is good for a second: this one may be of before.
  const held = await until('it is reported', async () => {
    const { quarantine } = (await readiness(at.daemon)).body.checks;
    return quarantine.count > 0 ? quarantine : null;
  });
  expect(held).toMatchObject({ status: 'warning', count: 1 });
  await at.mariadb.query("set global max_allowed_packet = 16777216; kill user app@'127.0.0.1'");
  await sleep(1000);
  await at.arrive(large('larger'));
  await until('its like', () => opened(at.daemon) === 4 || null);
  await untilWell(at.daemon);
});

test.concurrent('gone for 10 s: reported once, not ready meanwhile, recovered without a restart; a regular restart is no more than that', async () => {
  await using at = await scene();
  await at.mariadb.kill();
  await untilUnready(at.daemon, /^database_unavailable: /);
  const text = await metrics(at.daemon);
  expect(text).toContain('ticketmaild_check_reason{check="database",code="database_unavailable"} 1');
  expect(text).toMatch(/^ticketmaild_ready 0$/m);
  await at.arrive(mail('meanwhile'));
  await sleep(10_000);
  expect(opened(at.daemon)).toBe(1);
  // Once, and once more where it changes what it says: not with every wake.
  expect(count(at.daemon, 'database.unavailable')).toBeLessThanOrEqual(3);
  await at.mariadb.restart();
  await at.daemon.waitFor(named('database.recovered'));
  await until('the mail', () => opened(at.daemon) === 2 || null);
  await untilWell(at.daemon);
  await at.mariadb.restart();
  await at.arrive(mail('after-the-restart'));
  await until('the other mail', () => opened(at.daemon) === 3 || null);
  await untilWell(at.daemon);
  expect((await at.instance.command('reconcile')).code).toBe(0);
});

test.concurrent('a database that became read-only is reported as such, nothing is fetched twice, and it continues afterwards', async () => {
  await using at = await scene();
  await at.mariadb.query('set global read_only = 1');
  await at.arrive(mail('meanwhile'));
  await untilUnready(at.daemon, /^database_unavailable: .*read.only/i);
  await sleep(3000);
  expect(opened(at.daemon)).toBe(1);
  await at.mariadb.query('set global read_only = 0');
  await until('the mail', () => opened(at.daemon) === 2 || null);
  await untilWell(at.daemon);
  expect((await at.instance.command('reconcile')).code).toBe(0);
});
