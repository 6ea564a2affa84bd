/**
 * `check`: tries the configuration, the data folder, the key file, the database, its tables, the switch and every mailbox,
 * and says in plain words what is wrong.
 *
 * Each part is tried even when another failed, as far as that makes sense. Exit code 1 when anything failed, 2 when
 * it is the configuration.
 */
import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { App } from '../compose/compose.ts';
import type { Config, DatabaseConfig } from '../config/config.ts';
import { orRecover } from '../encryption/help.ts';
import { asFailure, causeCode, Failure, isFailure } from '../errors.ts';
import type { Mailbox } from '../ingest/model.ts';
import { type KeySet, keyIds } from '../secret/key.ts';
import { countText } from '../text/units.ts';
import { type CommonOptions, type Context, composeFor } from './context.ts';
import { certificateText, probeMailbox } from './mailbox/probe.ts';

type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: Failure };

/** Tries one part, prints its line, and gives back what the next parts need. */
type Try = <T>(part: string, work: () => Promise<T>, told: (value: T) => string) => Promise<Outcome<T>>;

export async function check(options: CommonOptions, context: Context): Promise<number> {
  const results: Outcome<unknown>[] = [];
  const failedFirst = new Map<string, string>();
  const attempt: Try = async (part, work, told) => {
    const result = await outcomeOf(work);
    results.push(result);
    if (result.ok) await print(options, context, part, told(result.value));
    else await printFailure(options, context, part, result.failure, failedFirst);
    return result;
  };
  const config = await attempt('configuration', () => context.loadConfig(options.config ?? null), configText);
  if (!config.ok) return config.failure.exitCode;
  const app = await attempt(
    'data folder',
    () => openApp(config.value, context),
    () => config.value.dataDir,
  );
  if (app.ok) {
    await using opened = app.value;
    await checkApp(opened, config.value, context, attempt);
  }
  return results.every((result) => result.ok) ? 0 : 1;
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
    // On a full disk the file is made all the same, and stays empty.
    await rm(path, { force: true }).catch(() => undefined);
    const code = causeCode(error);
    const isFull = code === 'ENOSPC' || code === 'EDQUOT';
    throw new Failure(isFull ? 'disk_full' : 'disk_failed', `data_dir ${dataDir} cannot be written to (${code})`, {
      cause: error,
    });
  }
}

async function checkApp(app: App, config: Config, context: Context, attempt: Try): Promise<void> {
  await attempt('key file', () => readKeyFile(app), keysText);
  const database = await attempt(
    'database',
    () => reach(app),
    () => databaseText(config.database),
  );
  if (!database.ok) return;
  const tables = await attempt('tables', () => pendingMigrations(app, config), tablesText);
  if (!tables.ok || tables.value > 0) return;
  await attempt(
    'switch',
    () => checkSwitch(app),
    (told) => told,
  );
  const mailboxes = await attempt(
    'mailboxes',
    () => app.store.listMailboxes(),
    (found) => `${found.length} configured`,
  );
  for (const mailbox of mailboxes.ok ? mailboxes.value : []) {
    await attempt(
      `mailbox ${mailbox.name}`,
      () => checkMailbox(app, mailbox, context),
      (told) => told,
    );
  }
}

/** Without tables the database answers all the same; they are the next part. */
async function reach(app: App): Promise<void> {
  try {
    await app.store.ping();
  } catch (error) {
    if (!isFailure(error, 'database_outdated')) throw error;
  }
}

/** How many migrations are to be applied; a failure where starting would not apply them. */
async function pendingMigrations(app: App, config: Config): Promise<number> {
  const pending = (await app.migrations.status()).filter(({ appliedAtMs }) => appliedAtMs === null).length;
  if (pending === 0 || config.migrateOnStart) return pending;
  throw new Failure('database_outdated', `${pending} migrations are not applied`);
}

function tablesText(pending: number): string {
  return pending === 0 ? 'up to date' : `${pending} migrations to apply, which the next start does`;
}

async function checkMailbox(app: App, mailbox: Mailbox, context: Context): Promise<string> {
  if (mailbox.state === 'removing') return `its removal was interrupted: mailbox remove ${mailbox.name} ends it`;
  const report = await app.passwords.withPassword(mailbox, (password) =>
    probeMailbox(app, mailbox.connection, password, context),
  );
  const paused = mailbox.state === 'paused' ? ', paused' : '';
  return `${report.folder.messageCount} messages in ${mailbox.connection.folder}, ${certificateText(report)}${paused}`;
}

/** null: there is none, which is wrong only while the switch is on. */
async function readKeyFile({ keyFile }: App): Promise<KeySet | null> {
  const reading = await keyFile.read();
  if (reading.kind === 'refused') throw reading.failure;
  return reading.kind === 'keys' ? reading.keys : null;
}

function keysText(keys: KeySet | null): string {
  return keys === null ? 'none' : `key ${keyIds(keys).join(', ')}`;
}

async function checkSwitch({ vault, store }: App): Promise<string> {
  const { state, problem, switch: inForce } = await vault.refresh();
  if (problem !== null) throw problem;
  if (state.kind === 'missing') throw rescuable(state.failure);
  if ('failure' in state && inForce.state !== 'off') throw state.failure;
  const { sealed, plaintext } = await store.passwordCounts();
  const key = inForce.keyId === null ? '' : ` under key ${inForce.keyId}`;
  return `encryption is ${inForce.state}${key}; ${countText(sealed, 'password')} sealed, ${plaintext} in plain text`;
}

function rescuable({ code, message, fields, hint }: Failure): Failure {
  return new Failure(code, message, { fields, hint: `${hint} ${orRecover}` });
}

async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    return { ok: false, failure: asFailure(error) };
  }
}

async function print(options: CommonOptions, { terminal }: Context, part: string, text: string): Promise<void> {
  if (options.json === true) await terminal.json({ check: part, ok: true, message: text, code: null, hint: null });
  else await terminal.line(`ok      ${part}: ${text}`, 'green');
}

/** For people a failure that stands above already, such as a key that every mailbox wants, is told by its part alone. */
async function printFailure(
  options: CommonOptions,
  { terminal }: Context,
  part: string,
  { code, message, hint }: Failure,
  failedFirst: Map<string, string>,
): Promise<void> {
  if (options.json === true) {
    await terminal.json({ check: part, ok: false, message, code, hint });
    return;
  }
  const sameAs = failedFirst.get(`${code} ${message}`);
  if (sameAs !== undefined) {
    await terminal.line(`failed  ${part}: for the same reason as ${sameAs}`, 'red');
    return;
  }
  failedFirst.set(`${code} ${message}`, part);
  await terminal.line(`failed  ${part}: ${message}`, 'red');
  await terminal.line(`        hint: ${hint}`);
}

function configText(config: Config): string {
  const { http, poll } = config;
  const health = http === null ? 'no health endpoints' : `health endpoints at ${http.host}:${http.port}`;
  return `polls every ${poll.intervalMs / 1000} s, ${health}`;
}

function databaseText(database: DatabaseConfig): string {
  if (database.kind === 'sqlite') return `SQLite in ${database.path}`;
  const where = database.socketPath ?? database.hosts.map(({ host, port }) => `${host}:${port}`).join(', ');
  return `${database.database} at ${where} as ${database.user}, TLS ${database.tls}`;
}
