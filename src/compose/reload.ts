/**
 * A reload (SIGHUP, `systemctl reload`): the configuration is read again, and what can change while the daemon runs does.
 *
 * That is the level of the log, the tables poll, push, limits, tickets, raw and stop, and the password of the database. What
 * else was changed is named in the log: it holds from the next start on. A configuration that is not valid is told and changes
 * nothing.
 */
import type { Config, DatabaseConfig } from '../config/config.ts';
import { asFailure } from '../errors.ts';
import { type AdjustableLog, events } from '../events.ts';
import type { ServiceManager } from '../ingest/ports.ts';
import type { Readiness } from '../ingest/readiness.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { isoTime } from '../text/time.ts';

/** A login takes no longer. */
const loginMsMax = 60_000;

const changeable: ReadonlySet<keyof Config> = new Set<keyof Config>([
  'log',
  'poll',
  'idle',
  'limits',
  'tickets',
  'raw',
  'shutdown',
]);

export type ReloadParts = {
  readonly load: () => Promise<Config>;
  readonly log: AdjustableLog;
  readonly supervisor: ServiceManager;
  readonly current: () => Config;
  readonly adopt: (config: Config) => void;
  readonly nowMs: () => number;
};

export type Reload = {
  /** Reads the configuration again. Never rejects. */
  again(): Promise<void>;
  /** For `/readyz`: whether the file that was read last is in force. */
  check(): ConfigCheck;
};

type ConfigCheck = Readiness['checks']['config'];

export function createReload({ load, log, supervisor, current, adopt, nowMs }: ReloadParts): Reload {
  let check: ConfigCheck = { status: 'ok', since: isoTime(nowMs()), reason: null, hint: null, needs_restart: [] };
  return {
    again: async () => {
      supervisor.reloading();
      const since = isoTime(nowMs());
      try {
        const next = await load();
        const names = changed(current(), next);
        const needsRestart = [...new Set(names.filter((key) => needsStart(key, current(), next)).map(inFile))];
        adopt(next);
        log.level = next.log.level;
        check = { ...checkOf(needsRestart), since };
        log.info(
          { changed: names.map(inFile), needs_restart: needsRestart, level_now: next.log.level },
          events.configReloaded,
        );
      } catch (error) {
        const failure = asFailure(error);
        const reason = `${failure.code}: ${failure.message}`;
        check = { ...check, status: 'warning', since, reason, hint: refusedHint };
        log.error({ error: failure }, events.configReloadFailed);
      } finally {
        supervisor.ready();
      }
    },
    check: () => check,
  };
}

const refusedHint =
  'The configuration before stays in force until the next start, which would fail: correct it, and reload.';

function checkOf(needsRestart: readonly string[]): Omit<ConfigCheck, 'since'> {
  if (needsRestart.length === 0) return { status: 'ok', reason: null, hint: null, needs_restart: [] };
  const reason = `restart_needed: what changed in ${needsRestart.join(', ')} holds from the next start on`;
  return { status: 'warning', reason, hint: 'Restart the daemon when it suits.', needs_restart: needsRestart };
}

/** Parts of the configuration that differ, another password of the database included. */
function changed(before: Config, after: Config): readonly (keyof Config)[] {
  const keys = Object.keys(after) as (keyof Config)[];
  return keys.filter((key) => shown(before[key]) !== shown(after[key]) || hasOtherPassword(key, before, after));
}

function hasOtherPassword(key: keyof Config, { database: before }: Config, { database: after }: Config): boolean {
  if (key !== 'database' || before.kind !== 'mysql' || after.kind !== 'mysql') return false;
  return before.password !== null && after.password !== null && !before.password.equals(after.password);
}

/** Of the database another password alone holds at once. */
function needsStart(key: keyof Config, before: Config, after: Config): boolean {
  return !changeable.has(key) && !(key === 'database' && shown(before.database) === shown(after.database));
}

/** As the file calls it. */
function inFile(key: keyof Config): string {
  if (key === 'migrateOnStart') return 'database';
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * The database as it is from now on: its password where that alone was changed, for the next connection. A password that is
 * not needed is wiped; the former one later, when no login can be under way with it.
 */
export function adoptPassword(
  now: DatabaseConfig,
  next: DatabaseConfig,
  use: (password: SecretBytes) => void,
): DatabaseConfig {
  if (now.kind !== 'mysql' || next.kind !== 'mysql' || next.password === null) return now;
  const [former, password] = [now.password, next.password];
  if (former === null || former.equals(password) || shown(now) !== shown(next)) {
    password.wipe();
    return now;
  }
  use(password);
  setTimeout(() => former.wipe(), loginMsMax).unref();
  return { ...now, password };
}

/** Secrets print as a fixed word: a changed password alone asks for no restart. */
function shown(value: unknown): string {
  return JSON.stringify(value) ?? '';
}
