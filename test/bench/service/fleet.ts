/**
 * Many mailboxes on one mail server under one installation of the program, encryption on, and what its daemon answers
 * to HTTP requests.
 *
 * Rows go straight into the table, as a helpdesk writes them. A fleet is scheduled as one that has been running: due
 * times are spread over a stretch of time, instead of all at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Daemon } from '../../support/processes/daemon.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { runSql } from '../../support/sql.ts';
import { addMailboxes, mailboxOn, type NewRow } from '../many-mailboxes.ts';
import { enable, openSetting, type Setting } from '../setting.ts';

export type Fleet = { readonly setting: Setting; readonly rows: readonly NewRow[] } & AsyncDisposable;

export type Answer = { readonly status: number; readonly ms: number; readonly body: string };

const httpEnv = { TICKETMAILD_HTTP_LISTEN: '127.0.0.1:0' } as const;
const untilMs = 50;
const rowsAtOnce = 500;

/** Migrated, filled, and with all passwords sealed. */
export async function openFleet(
  mariadb: Mariadb | null,
  rows: readonly NewRow[],
  env: Readonly<Record<string, string>>,
): Promise<Fleet> {
  const setting = await openSetting(mariadb, { ...httpEnv, ...env });
  try {
    await addMailboxes(setting.databaseUrl, rows);
    await setting.succeed(enable);
    return { setting, rows, [Symbol.asyncDispose]: () => setting[Symbol.asyncDispose]() };
  } catch (error) {
    await setting[Symbol.asyncDispose]();
    throw error;
  }
}

/** So many mailboxes on the server, over TLS. */
export function rowsOn(dovecot: Dovecot, count: number): readonly NewRow[] {
  return Array.from({ length: count }, (_, index) =>
    mailboxOn(dovecot, 'implicit', `box-${index}`, Buffer.from(password)),
  );
}

/**
 * Makes the mailboxes due one after the other over so many seconds, the first `fromMs` after now; gives when by their
 * names. Those without a schedule get one.
 */
export async function spread(
  { databaseUrl }: Setting,
  seconds: number,
  fromMs = 0,
): Promise<ReadonlyMap<string, number>> {
  const rows = await runSql<{ id: string; name: string }>(databaseUrl, 'SELECT id, name FROM mailboxes ORDER BY id');
  const startMs = Date.now() + fromMs;
  const due = rows.map(({ id, name }, index) => ({
    id,
    name,
    atMs: Math.round(startMs + (index * seconds * 1000) / rows.length),
  }));
  const conflict = databaseUrl.startsWith('sqlite:')
    ? 'ON CONFLICT (mailbox_id) DO UPDATE SET next_poll_at = excluded.next_poll_at'
    : 'ON DUPLICATE KEY UPDATE next_poll_at = VALUES(next_poll_at)';
  for (let at = 0; at < due.length; at += rowsAtOnce) {
    const values = due.slice(at, at + rowsAtOnce).map(({ id, atMs }) => `('${id}', 0, '${timeText(atMs)}', 0)`);
    const columns = 'mailbox_id, lease_epoch, next_poll_at, failures';
    await runSql(databaseUrl, `INSERT INTO mailbox_state (${columns}) VALUES ${values.join()} ${conflict}`);
  }
  return new Map(due.map(({ name, atMs }) => [name, atMs]));
}

/** As the database holds times: UTC, in milliseconds. */
export function timeText(atMs: number): string {
  return new Date(atMs).toISOString().replace('T', ' ').replace('Z', '');
}

/** Options of Node that leave a CPU profile in the folder when the daemon ends; null: none. */
export function profiling(folder: string | null): readonly string[] {
  return folder === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${folder}`];
}

/** The address of the daemon's endpoints, as soon as it listens. */
export async function addressOf(daemon: Daemon): Promise<string> {
  const line = await daemon.waitFor(({ event }) => event === 'http.listening');
  return String(line['address']);
}

export async function ask(address: string, path: string): Promise<Answer> {
  const startedAtMs = performance.now();
  const response = await fetch(`${address}${path}`);
  const body = await response.text();
  return { status: response.status, ms: performance.now() - startedAtMs, body };
}

/** Connections on which the mail server announces mail; null when the daemon does not tell. */
export async function openPush(address: string): Promise<number | null> {
  const { body } = await ask(address, '/readyz');
  const readiness = JSON.parse(body) as { readonly checks?: { readonly idle?: { readonly open?: number } } };
  return readiness.checks?.idle?.open ?? null;
}

/** Waits until `check` holds. Throws `what` when that takes too long, or the daemon ends first. */
export async function until(
  daemon: Daemon,
  what: string,
  timeoutMs: number,
  check: () => boolean | Promise<boolean>,
  everyMs = untilMs,
): Promise<void> {
  const ending = { code: null as number | string | null };
  void daemon.exit.then(({ code }) => {
    ending.code = code;
  });
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await check())) {
    if (ending.code !== null) throw new Error(`the daemon ended with ${ending.code}: ${daemon.stderr().slice(-4000)}`);
    if (performance.now() > deadlineMs) throw new Error(`${what}: not within ${timeoutMs / 1000} s`);
    await sleep(everyMs);
  }
}

/** Asks the daemon to stop and waits for its end, so that what it writes at its end is written. */
export async function stopped(daemon: Daemon): Promise<void> {
  daemon.signal('SIGTERM');
  await daemon.exit;
}
