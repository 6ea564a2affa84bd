/**
 * Database copy with real servers: a helpdesk on SQLite with encryption continues with MariaDB after `database copy`,
 * which was killed again and again; nothing is lost or doubled, and every secret still opens.
 */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { baselineTables } from '../../src/adapters/database/schema/baseline.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { adminName, adminPassword, mustRun, signIn } from '../admin/admin-scene.ts';
import { serversOfFile } from '../support/file-servers.ts';
import { type Instance, openInstance } from '../support/instance.ts';
import { named, runCommand, startDaemon } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import type { Dovecot } from '../support/servers/dovecot.ts';
import type { Mariadb, TestDatabase } from '../support/servers/mariadb.ts';
import { runSql } from '../support/sql.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { noFindings, type SentMessage, verifyStored } from '../support/verification.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

type Size = {
  readonly count: number;
  readonly kills: number;
  readonly killsMin: number;
  readonly later: number;
  readonly lifeMsMax: number;
};

type Sent = { readonly sources: readonly Buffer[]; readonly messages: readonly SentMessage[] };

const idOf = (number: number): string => `<m${number}@x>`;

const mail = (number: number, headers: string): Buffer =>
  Buffer.from(
    `From: Ada <ada@example.test>\r\nTo: support@example.test\r\nSubject: number ${number}\r\n` +
      `Message-ID: ${idOf(number)}\r\n${headers}\r\nHello\r\n`,
  );

/** Every third message replies to the one `back` before it. */
function messagesFrom(from: number, count: number, back: number): Sent {
  const numbers = Array.from({ length: count }, (_, index) => from + index);
  const replyTo = (number: number) => (number % 3 === 2 && number >= back ? number - back : null);
  const rootOf = (number: number): number => {
    const before = replyTo(number);
    return before === null ? number : rootOf(before);
  };
  return {
    sources: numbers.map((number) => {
      const before = replyTo(number);
      return mail(number, before === null ? '' : `In-Reply-To: ${idOf(before)}\r\n`);
    }),
    messages: numbers.map((number) => ({
      messageId: idOf(number),
      replyTo: replyTo(number) === null ? null : idOf(rootOf(number)),
      attachmentSha256: null,
    })),
  };
}

/** SHA-256 of the rows of each table that is copied, read by SQL of our own. */
async function hashes(url: string): Promise<Readonly<Record<string, string>>> {
  const cleared = ['lease_owner', 'lease_until', 'operation_owner', 'operation_until', 'changed_at'];
  const found: Record<string, string> = {};
  for (const [table, { columns, primaryKey }] of Object.entries(baselineTables)) {
    if (table === 'workers') continue;
    const times = Object.entries(columns).filter(([, { mysql }]) => mysql.startsWith('datetime(3)'));
    const names = Object.keys(columns).filter((column) => table === 'encryption_switch' || !cleared.includes(column));
    const hash = createHash('sha256');
    const isTime = new Set(times.map(([column]) => column));
    const texts = names.map((column) => (isTime.has(column) ? `cast(${column} as char) as ${column}` : column));
    const rows = await runSql<Record<string, unknown>>(
      url,
      `select ${texts.join(', ')} from ${table} order by ${primaryKey.join(', ')}`,
    );
    for (const row of rows) hash.update(JSON.stringify(names.map((name) => shown(row[name]))));
    found[table] = `${rows.length} ${hash.digest('hex')}`;
  }
  return found;
}

function shown(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

/** A mailbox that was fetched, an admin and a grant, with encryption on. */
async function helpdesk(stack: AsyncDisposableStack, sent: Sent): Promise<{ instance: Instance; user: string }> {
  const folder = stack.use(await temporaryFolder('copy')).path;
  const config = join(folder, 'ticketmaild.toml');
  await writeFile(config, '[oauth.p]\nkind = "microsoft"\ntenant = "example.org"\nflow = "person"\nclient_id = "c"\n');
  const instance = stack.use(await openInstance({ env: { TICKETMAILD_CONFIG: config } }));
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', sent.sources);
  const refresh = {
    form: 'plain',
    token: SecretBytes.take(Buffer.from('refresh-token-of-g')),
    switchRevision: 0,
  } as const;
  const { app } = instance;
  await app.store.storeConsent({ name: 'g', provider: 'p', account: 'g@x', scope: 's', refresh, by: app.actor });
  await mustRun(instance.command('encryption', 'enable', '--accept-key-loss', '--backup-prepared'));
  await instance.add(dovecot, user);
  const env = instance.env;
  await mustRun(runCommand(['admin', 'add', adminName, '--password-stdin'], { env, input: adminPassword }));
  await using daemon = instance.start();
  await untilStored(sqliteUrl(instance), sent.sources.length);
  daemon.signal('SIGTERM');
  await daemon.exit;
  return { instance, user };
}

const sqliteUrl = ({ dataDir }: Instance): string => `sqlite:${join(dataDir, 'ticketmaild.db')}`;

async function untilStored(url: string, count: number): Promise<void> {
  await until(
    `${count} messages are stored`,
    async () => {
      const rows = await runSql<{ n: number }>(url, 'select count(*) as n from message').catch(() => []);
      return Number(rows[0]?.n) >= count;
    },
    600_000,
  );
}

/** Of a process, until it reaches the databases. */
const startMs = 300;

async function untilMarked(url: string): Promise<void> {
  const marks = 'select count(*) as n from schema_migration where number = 1000000000';
  for (let tries = 0; tries < 5000; tries += 1) {
    const [row] = await runSql<{ n: number }>(url, marks).catch(() => []);
    if (Number(row?.n) === 1) return;
  }
  throw new Error('the copy has not begun');
}

/** Kills the copy as soon as it has begun, then at random moments, and lets it end. Returns its result. */
async function copyUnderKills(instance: Instance, to: TestDatabase, { kills, lifeMsMax }: Size) {
  const passwordFile = join(instance.folder, 'password');
  await writeFile(passwordFile, 'app\n', { mode: 0o600 });
  const url = to.url.replace(':app@', '@');
  const args = ['database', 'copy', '--to', url, '--to-password-file', passwordFile, '--json'];
  let killed = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    await using copy = startDaemon(args, { env: instance.env });
    if (kill === 0) await untilMarked(to.url);
    else await sleep(startMs + Math.random() * lifeMsMax);
    copy.signal('SIGKILL');
    if ((await copy.exit).code === 'SIGKILL') killed += 1;
    else break;
    if (kill === 0) await refusesTheUnfinished(instance, to);
  }
  const last = await mustRun(runCommand(args, { env: instance.env }));
  return { killed, result: JSON.parse(last.stdout) };
}

async function refusesTheUnfinished({ env }: Instance, to: TestDatabase): Promise<void> {
  const daemon = await runCommand(['run'], { env: { ...env, TICKETMAILD_DATABASE_URL: to.url } });
  expect(daemon).toMatchObject({ code: 3, stdout: '' });
  expect(daemon.stderr).toMatch(/^ticketmaild: This database holds an unfinished copy of another one\.\nhint: .*\n$/);
}

async function story(size: Size): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const { count, killsMin, later } = size;
  const first = messagesFrom(0, count, 2);
  const { instance, user } = await helpdesk(stack, first);
  const from = sqliteUrl(instance);
  const before = await hashes(from);
  const to = await mariadb.createDatabase();
  const { killed, result } = await copyUnderKills(instance, to, size);
  expect(killed).toBeGreaterThanOrEqual(killsMin);
  // A kill may come after the last commit, and before the end of the process.
  expect(result.resumed || result.was_complete).toBe(true);
  expect(await hashes(to.url)).toEqual(before);
  expect(await hashes(from)).toEqual(before);

  const env = { ...instance.env, TICKETMAILD_DATABASE_URL: to.url, TICKETMAILD_ADMIN_LISTEN: '127.0.0.1:0' };
  const second = messagesFrom(count, later, 3 * later + 2);
  await dovecot.append(user, 'INBOX', second.sources);
  await using daemon = startDaemon(['run'], { env });
  await untilStored(to.url, count + later);
  // The next polls would double what they do not recognize.
  await sleep(1200);
  const sent = [...first.messages, ...second.messages];
  const verification = await verifyStored({ sent, databaseUrl: to.url, dataDir: instance.dataDir });
  expect(verification).toMatchObject({ messages: count + later, findings: noFindings });
  const { address } = await daemon.waitFor(named('admin.listening'));
  await signIn({ address: String(address) });
  const status = JSON.parse((await mustRun(runCommand(['encryption', 'status', '--json'], { env }))).stdout);
  expect(status).toMatchObject({ state: 'on', problem: null });
  const rotated = JSON.parse((await mustRun(runCommand(['encryption', 'rotate', '--json'], { env }))).stdout);
  expect(rotated).toMatchObject({ resealed: 1, resealed_tokens: 1, unopened: [] });
}

describe('a daemon continues with the copy', () => {
  test(
    'of 90 messages, killed twice, then 20 more',
    () => story({ count: 90, kills: 2, killsMin: 1, later: 20, lifeMsMax: 300 }),
    60_000,
  );

  test('of 20,000 messages, killed 20 times, then 100 more', { tags: ['long'], timeout: 1_200_000 }, () =>
    story({ count: 20_000, kills: 20, killsMin: 20, later: 100, lifeMsMax: 700 }),
  );
});
