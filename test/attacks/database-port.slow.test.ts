/**
 * A program takes the port of the database while the server is down: the daemon reports it, keeps the password to
 * itself, and continues once the server is back. MariaDB beside it over TCP, TLS and its socket.
 */
import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { count, mail, opened, openInstance, readiness, untilWell } from '../support/instance.ts';
import { named } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type FakeMysqlPlan, startFakeMysql } from '../support/servers/fake-mysql.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';
import { temporaryFolder } from '../support/temporary.ts';

const password = 'correct-horse-battery-staple';
const stack = new AsyncDisposableStack();
let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = stack.use(await startDovecot());
});
afterAll(() => stack.disposeAsync());

/** A database whose user has a password that can be searched for. */
async function databaseOn(mariadb: Mariadb) {
  const { name, config } = await mariadb.createDatabase();
  await mariadb.query(
    ['127.0.0.1', 'localhost']
      .map(
        (host) =>
          `create user keeper@'${host}' identified by '${password}'; grant all on ${name}.* to keeper@'${host}';`,
      )
      .join(''),
  );
  return { config, url: `mysql://keeper:${password}@127.0.0.1:${mariadb.port}/${name}`, name };
}

const plans: readonly (FakeMysqlPlan & { readonly code: string })[] = [
  { switchTo: 'caching_sha2_password', code: 'database_login_insecure' },
  { switchTo: 'mysql_clear_password', code: 'database_login_insecure' },
  { switchTo: 'client_ed25519', code: 'database_login_unsupported' },
];

test('a listener in place of the database: 503 with the reason, one log line, no byte of the password, and no restart', async () => {
  await using mariadb = await startMariadb();
  await using instance = await openInstance({ database: await databaseOn(mariadb) });
  const user = dovecot.newUser();
  await instance.add(dovecot, user);
  const daemon = instance.start();
  await dovecot.append(user, 'INBOX', [mail('before')]);
  await until('the first message', () => opened(daemon) === 1 || null);
  await untilWell(daemon);
  await mariadb.stop();
  for (const { code, ...plan } of plans) {
    await using fake = await startFakeMysql(plan, { port: mariadb.port });
    await until(`not ready: ${code}`, async () => {
      const { status, body } = await readiness(daemon);
      return (status === 503 && body.checks.database.reason?.startsWith(`${code}: `)) || null;
    });
    const logins = fake.logins();
    await until('it is tried again', () => fake.logins() > logins + 2 || null);
    expect(fake.learned(password)).toBe(false);
    const started = await instance.command('check');
    expect(started.code).toBe(1);
    expect(fake.learned(password)).toBe(false);
  }
  await dovecot.append(user, 'INBOX', [mail('meanwhile')]);
  await mariadb.restart();
  await until('the second message', () => opened(daemon) === 2 || null);
  await untilWell(daemon);
  expect(count(daemon, 'database.recovered')).toBe(1);
  const lines = daemon.lines.filter((line) => JSON.stringify(line).includes('database_login_insecure'));
  expect(lines.map(({ event }) => event)).toEqual(['database.unavailable', 'database.unavailable']);
  expect(daemon.lines.some(named('worker.heartbeat_failed'))).toBe(false);
});

test('check warns of TCP to this machine without TLS alone; all three ways work', async () => {
  await using mariadb = await startMariadb();
  const { url, name } = await databaseOn(mariadb);
  await using folder = await temporaryFolder('check');
  const ca = `${folder.path}/ca.pem`;
  await writeFile(ca, mariadb.caPem);
  await using fake = await startFakeMysql({ switchTo: null });
  const key = `${folder.path}/public_key.pem`;
  await writeFile(key, fake.publicKeyPem);
  const warning = `warning database: nothing proves that 127.0.0.1:${mariadb.port} is the database`;
  const checked = async (env: Readonly<Record<string, string>>) => {
    await using instance = await openInstance({ env: { TICKETMAILD_DATABASE_URL: url, ...env } });
    const { code, stdout } = await instance.command('check');
    expect(code, stdout).toBe(0);
    return stdout.includes(warning);
  };
  expect(await checked({})).toBe(true);
  expect(await checked({ TICKETMAILD_DATABASE_SERVER_KEY_FILE: key })).toBe(false);
  expect(await checked({ TICKETMAILD_DATABASE_TLS: 'verify', TICKETMAILD_DATABASE_CA_FILE: ca })).toBe(false);
  const socket = `mysql://keeper:${password}@localhost/${name}?socket=${encodeURIComponent(mariadb.socketPath)}`;
  expect(await checked({ TICKETMAILD_DATABASE_URL: socket })).toBe(false);
});
