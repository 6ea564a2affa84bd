/**
 * Configuration reload (SIGHUP, `systemctl reload`): parse, validate, swap what can change while the daemon runs.
 *
 * That is the log level, the tables poll, idle, limits, tickets, raw, shutdown and oauth, and password, TLS,
 * authorities, fingerprint and server key of the database. Other changes are named in the log and take effect at the
 * next start. An invalid configuration is logged and changes nothing.
 */
import type { Config, DatabaseConfig, DatabaseLogin } from '../config/config.ts';
import { asFailure } from '../errors.ts';
import { type AdjustableLog, events } from '../events.ts';
import type { ServiceManager } from '../ingest/ports.ts';
import type { Readiness } from '../ingest/readiness.ts';
import { hints } from '../text/hints.ts';
import { isoTime } from '../text/time.ts';

/** The longest login to the database. */
const loginMsMax = 60_000;

const changeable: ReadonlySet<keyof Config> = new Set<keyof Config>([
  'log',
  'poll',
  'idle',
  'limits',
  'tickets',
  'raw',
  'shutdown',
  'oauth',
]);

export type ReloadParts = {
  readonly load: () => Promise<Config>;
  readonly log: AdjustableLog;
  readonly serviceManager: ServiceManager;
  readonly current: () => Config;
  readonly adopt: (config: Config) => void;
  readonly nowMs: () => number;
};

export type Reload = {
  /** Reads the configuration again. Never rejects. */
  reload(): Promise<void>;
  /** For `/readyz`: the result of the last reload. */
  check(): ConfigCheck;
};

type ConfigCheck = Readiness['checks']['config'];

export function createReload({ load, log, serviceManager, current, adopt, nowMs }: ReloadParts): Reload {
  let check: ConfigCheck = { status: 'ok', since: isoTime(nowMs()), reason: null, hint: null, needs_restart: [] };
  return {
    reload: async () => {
      serviceManager.reloading();
      const since = isoTime(nowMs());
      try {
        const next = await load();
        const names = changedKeys(current(), next);
        const pending = [...new Set(names.filter((key) => needsRestart(key, current(), next)).map(tableName))];
        adopt(next);
        log.level = next.log.level;
        check = { ...checkOf(pending), since };
        log.info(
          { changed: names.map(tableName), needs_restart: pending, level_now: next.log.level },
          events.configReloaded,
        );
      } catch (error) {
        const failure = asFailure(error);
        const reason = `${failure.code}: ${failure.message}`;
        check = { ...check, status: 'warning', since, reason, hint: hints.configRefused };
        log.error({ error: failure }, events.configReloadFailed);
      } finally {
        serviceManager.ready();
      }
    },
    check: () => check,
  };
}

function checkOf(pending: readonly string[]): Omit<ConfigCheck, 'since'> {
  if (pending.length === 0) return { status: 'ok', reason: null, hint: null, needs_restart: [] };
  const reason = `restart_needed: what changed in ${pending.join(', ')} takes effect at the next start`;
  return { status: 'warning', reason, hint: hints.restartNeeded, needs_restart: pending };
}

/** Tables of the configuration that differ, also by the database password alone. */
function changedKeys(before: Config, after: Config): readonly (keyof Config)[] {
  const keys = Object.keys(after) as (keyof Config)[];
  return keys.filter(
    (key) => serialized(before[key]) !== serialized(after[key]) || hasOtherPassword(key, before, after),
  );
}

function hasOtherPassword(key: keyof Config, { database: before }: Config, { database: after }: Config): boolean {
  if (key !== 'database' || before.kind !== 'mysql' || after.kind !== 'mysql') return false;
  return before.password !== null && after.password !== null && !before.password.equals(after.password);
}

/** What a login uses, the password and what proves the server, needs no restart. */
function needsRestart(key: keyof Config, before: Config, after: Config): boolean {
  return !changeable.has(key) && !(key === 'database' && isSameDatabase(before.database, after.database));
}

function isSameDatabase(before: DatabaseConfig, after: DatabaseConfig): boolean {
  return serialized({ ...before, ...noProof }) === serialized({ ...after, ...noProof });
}

type ServerProof = Omit<DatabaseLogin, 'password'>;

const noProof: ServerProof = { tls: 'off', caPem: null, fingerprint: null, serverKeyPem: null };

/** What proves the server to a login. */
function proofOf({ tls, caPem, fingerprint, serverKeyPem }: ServerProof): ServerProof {
  return { tls, caPem, fingerprint, serverKeyPem };
}

/** The name of the table in the file. */
function tableName(key: keyof Config): string {
  if (key === 'migrateOnStart') return 'database';
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The configuration in force after a reload. `useLogin` is given what changed for the next logins. */
export function applyReload(current: Config, next: Config, useLogin: (login: DatabaseLogin) => void): Config {
  const { log, poll, idle, limits, tickets, raw, shutdown, oauth } = next;
  const database = adoptLogin(current.database, next.database, useLogin);
  return { ...current, log, poll, idle, limits, tickets, raw, shutdown, oauth, database };
}

/**
 * The database settings in force: with the new password and proof of the server, used by the next connection, if only
 * those were changed. An unused password is wiped at once, the former one after a minute, when no login can still use
 * it.
 */
function adoptLogin(now: DatabaseConfig, next: DatabaseConfig, use: (login: DatabaseLogin) => void): DatabaseConfig {
  if (now.kind !== 'mysql' || next.kind !== 'mysql') return now;
  const [former, given] = [now.password, next.password];
  const isSame = isSameDatabase(now, next);
  const isNew = isSame && former !== null && given !== null && !former.equals(given);
  if (!isNew) given?.wipe();
  if (!isSame || (!isNew && serialized(proofOf(now)) === serialized(proofOf(next)))) return now;
  const login = { password: isNew ? given : former, ...proofOf(next) };
  use(login);
  if (isNew) setTimeout(() => former.wipe(), loginMsMax).unref();
  return { ...now, ...login };
}

/** Secrets are serialized as a fixed word. */
function serialized(value: unknown): string {
  return JSON.stringify(value) ?? '';
}
