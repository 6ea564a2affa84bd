/**
 * `check`: self-test of configuration, data folder, listeners, OAuth credentials, key file, database, tables,
 * encryption switch and every mailbox.
 *
 * Independent parts are tested even when another one failed. Exit code 1 when anything failed, 2 when it is the
 * configuration.
 */
import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { App } from '../compose/compose.ts';
import type { Config, DatabaseConfig } from '../config/config.ts';
import { isLoopback } from '../config/machine.ts';
import { plaintextAdvice, recoverAdvice, sharedBackupAdvice } from '../encryption/help.ts';
import type { KeyFileReading } from '../encryption/ports.ts';
import { isEncryptionOn, unprovenOff } from '../encryption/vault.ts';
import { causeCode, Failure, isFailure } from '../errors.ts';
import { readableText } from '../ingest/health/checks.ts';
import type { Mailbox } from '../ingest/model.ts';
import { keyIds, weakKeyFailure, weakKeyRemedy } from '../secret/key.ts';
import { hints, withMailboxName } from '../text/hints.ts';
import { countText } from '../text/units.ts';
import { type CheckReport, createCheckReport } from './check-report.ts';
import { type CommonOptions, type Context, composeFor } from './context.ts';
import { certificateText, probeMailbox } from './mailbox/probe.ts';
import { checkCredential } from './oauth/credential.ts';
import { listenerState } from './status/listeners.ts';

type KeysReading = Extract<KeyFileReading, { kind: 'keys' }>;

export async function check(options: CommonOptions, context: Context): Promise<number> {
  const report = createCheckReport(options, context);
  const { attempt, warn } = report;
  const outdated = await context.outdatedNode();
  if (outdated !== null) await warn('node', outdated, hints.nodeOutdated);
  const config = await attempt('configuration', () => context.loadConfig(options.config ?? null), configText);
  if (!config.ok) return config.failure.exitCode;
  if (config.value.admin?.proxies.some((one) => isLoopback(one.replace(/^::ffff:/i, ''))) === true)
    await warn('configuration', ...openProxy);
  const app = await attempt(
    'data folder',
    () => openApp(config.value, context),
    () => config.value.dataDir,
  );
  if (app.ok) {
    await using opened = app.value;
    await checkListeners(config.value, context, report);
    await checkApp(opened, config.value, context, report);
  }
  return report.exitCode();
}

/** Mail is fetched without them: a warning at most. */
async function checkListeners({ http, admin, dataDir }: Config, context: Context, report: CheckReport): Promise<void> {
  const listeners = [
    { name: 'health', part: 'health endpoints', address: http },
    { name: 'page', part: 'admin page', address: admin },
  ] as const;
  for (const { name, part, address } of listeners) {
    if (address === null) continue;
    const state = await listenerState({ name, address }, dataDir, context);
    if (state.kind === 'unserved') await report.warn(part, state.text, state.hint);
    else
      await report.attempt(
        part,
        async () => state.text,
        (text) => text,
      );
  }
}

async function openApp(config: Config, context: Context): Promise<App> {
  const app = await composeFor(config, context);
  try {
    await writeInto(config.dataDir);
  } catch (error) {
    await app[Symbol.asyncDispose]();
    throw error;
  }
  return app;
}

async function writeInto(dataDir: string): Promise<void> {
  const path = join(dataDir, `.check-${randomUUID()}`);
  try {
    await writeFile(path, 'check', { flag: 'wx', mode: 0o600 });
    await rm(path);
  } catch (error) {
    // On a full disk the file is created and stays empty.
    await rm(path, { force: true }).catch(() => undefined);
    const code = causeCode(error);
    const isFull = code === 'ENOSPC' || code === 'EDQUOT';
    throw new Failure(isFull ? 'disk_full' : 'disk_failed', `data_dir ${dataDir} is not writable (${code})`, {
      cause: error,
    });
  }
}

async function checkApp(app: App, config: Config, context: Context, report: CheckReport): Promise<void> {
  const { attempt, warn } = report;
  for (const provider of config.oauth)
    await checkCredential(app, provider, { part: `provider ${provider.name}`, nowMs: context.nowMs() }, report);
  const key = await attempt('key file', () => readKeyFile(app), keysText);
  const [shared, ...remedies] =
    key.ok && key.value?.wrapped === null ? sharedBackupAdvice(app.keyFile.path, config.database) : [];
  if (shared !== undefined) await warn('backup', shared, remedies.join(' '));
  const open = app.store.openChannel();
  if (open !== null) await warn('database', open, openDatabaseHint);
  const database = await attempt(
    'database',
    () => pingDatabase(app),
    () => databaseText(config.database),
  );
  if (!database.ok) return;
  const tables = await attempt('tables', () => pendingMigrations(app, config), tablesText);
  if (!tables.ok || tables.value > 0) return;
  await attempt(
    'switch',
    () => checkSwitch(app),
    (text) => text,
  );
  const mailboxes = await attempt(
    'mailboxes',
    () => app.store.listMailboxes(),
    (found) => `${found.length} configured`,
  );
  if (!mailboxes.ok) return;
  await warnReadable(app, report);
  for (const mailbox of mailboxes.value) {
    await attempt(
      `mailbox ${mailbox.name}`,
      () => checkMailbox(app, mailbox, context),
      (text) => text,
      ({ hint }) => ({ hint: withMailboxName(hint, mailbox.name), steps: [] }),
    );
  }
}

/** Missing tables are reported by the next part. */
async function pingDatabase(app: App): Promise<void> {
  try {
    await app.store.ping();
  } catch (error) {
    if (!isFailure(error, 'database_outdated')) throw error;
  }
}

/** Number of pending migrations; a failure where the start does not apply them. */
async function pendingMigrations(app: App, config: Config): Promise<number> {
  const pending = (await app.migrations.status()).filter(({ appliedAtMs }) => appliedAtMs === null).length;
  if (pending === 0 || config.migrateOnStart) return pending;
  throw new Failure('database_outdated', `${pending} migrations are not applied`);
}

function tablesText(pending: number): string {
  return pending === 0 ? 'up to date' : `${pending} migrations pending; the next start applies them`;
}

async function checkMailbox(app: App, mailbox: Mailbox, context: Context): Promise<string> {
  if (mailbox.state === 'removing') return `its removal was interrupted: mailbox remove ${mailbox.name} completes it`;
  const report = await app.credentials.withCredential(mailbox, (credential, connection) =>
    probeMailbox(app, connection, credential, context, { name: mailbox.name }),
  );
  const paused = mailbox.state === 'paused' ? ', paused' : '';
  return `${countText(report.folder.messageCount, 'message')} in ${mailbox.connection.folder}, ${certificateText(report)}${paused}`;
}

/** null: no key file, which is an error only while encryption is on. */
async function readKeyFile({ keyFile }: App): Promise<KeysReading | null> {
  const reading = await keyFile.read();
  if (reading.kind === 'refused') throw reading.failure;
  if (reading.kind === 'absent') return null;
  const weak = reading.keys.find(({ weakness }) => weakness !== null);
  if (weak !== undefined) throw weakKeyFailure(keyFile.path, weak, weakKeyRemedy);
  return reading;
}

function keysText(reading: KeysReading | null): string {
  return reading === null ? 'none, as while encryption is off' : `key ${keyIds(reading.keys).join(', ')}`;
}

async function checkSwitch({ vault, store }: App): Promise<string> {
  const view = await vault.refresh();
  const { state, problem, switch: inForce } = view;
  if (problem !== null) throw problem;
  const unproven = state.kind === 'open' ? unprovenOff(view) : null;
  if (unproven !== null) throw unproven;
  if (state.kind === 'missing') throw rescuable(state.failure);
  if ('failure' in state && inForce.state !== 'off') throw state.failure;
  const { sealed, plaintext } = await store.passwordCounts();
  const key = inForce.keyId === null ? '' : ` under key ${inForce.keyId}`;
  return `encryption is ${inForce.state}${key}; ${countText(sealed, 'password')} sealed, ${plaintext} in plain text`;
}

/** While an operation enables or disables encryption, its own texts apply. */
async function warnReadable({ vault, store }: App, { warn }: CheckReport): Promise<void> {
  const isOff = vault.view.switch.state === 'off';
  if (!isOff && !isEncryptionOn(vault.view)) return;
  const readable = readableText(await store.readableSecrets());
  if (readable === null) return;
  if (isOff) await warn('passwords', readable, hints.passwordsReadable);
  else await warn('passwords', `${readable} although encryption is on`, plaintextAdvice);
}

function rescuable({ code, message, fields, hint }: Failure): Failure {
  return new Failure(code, message, { fields, hint: `${hint} ${recoverAdvice}` });
}

/** Any user of this machine connects from a loopback address. */
const openProxy = [
  '[admin] proxies has a loopback address: every user of this machine is trusted like the proxy',
  'Let the proxy use a unix socket: listen = "unix:/run/ticketmaild/page.sock" (src/admin/README.md), without that entry.',
] as const;

const openDatabaseHint =
  'In [database], name its unix socket in url (?socket=/run/mysqld/mysqld.sock), or set tls = "verify" or fingerprint; server_key_file protects the password alone.';

function configText(config: Config): string {
  const { http, poll } = config;
  return `polls every ${poll.intervalMs / 1000} s${http === null ? ', no health endpoints' : ''}`;
}

function databaseText(database: DatabaseConfig): string {
  if (database.kind === 'sqlite') return `SQLite in ${database.path}`;
  const pin = database.fingerprint === null ? '' : `, certificate pinned sha256 ${database.fingerprint}`;
  const where = database.socketPath ?? database.hosts.map(({ host, port }) => `${host}:${port}`).join(', ');
  return `${database.database} at ${where} as ${database.user}, TLS ${database.tls}${pin}`;
}
