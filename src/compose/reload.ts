/**
 * A reload (SIGHUP, `systemctl reload`): the configuration is read again, and what can change while the daemon runs does.
 *
 * That is the level of the log and the tables poll, push, raw and stop. What else was changed is named in the log: it holds
 * from the next start on. A configuration that is not valid is told and changes nothing.
 */
import type { Config } from '../config.ts';
import { asFailure } from '../errors.ts';
import { type AdjustableLog, events } from '../events.ts';
import type { Supervisor } from '../ingest/daemon-ports.ts';
import { isoTime } from '../ingest/iso-time.ts';
import type { Readiness } from '../ingest/readiness.ts';

const changeable: ReadonlySet<keyof Config> = new Set<keyof Config>([
  'log',
  'poll',
  'push',
  'limits',
  'tickets',
  'raw',
  'stop',
]);

export type ReloadParts = {
  readonly load: () => Promise<Config>;
  readonly log: AdjustableLog;
  readonly supervisor: Supervisor;
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
        const needsRestart = changed(current(), next);
        adopt(next);
        log.level = next.log.level;
        check = { ...checkOf(needsRestart), since };
        log.info({ level_now: next.log.level, needs_restart: needsRestart }, events.configReloaded);
      } catch (error) {
        const failure = asFailure(error);
        const reason = `${failure.code}: ${failure.message}`;
        check = { ...check, status: 'warning', since, reason, hint: refusedHint };
        log.error({ error: failure }, events.configRefused);
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

/** Tables, by their name in the file, that hold only from the next start on. */
function changed(before: Config, after: Config): readonly string[] {
  return (Object.keys(after) as (keyof Config)[])
    .filter((key) => !changeable.has(key) && shown(before[key]) !== shown(after[key]))
    .map((key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
}

/** Secrets print as a fixed word, so a changed password is not seen here, and not named. */
function shown(value: unknown): string {
  return JSON.stringify(value) ?? '';
}
