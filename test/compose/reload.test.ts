/**
 * Reload: what can change while the daemon runs is adopted, the rest is named, and an invalid file changes nothing.
 */
import { expect, test } from 'vitest';
import { applyReload, createReload, type ReloadParts } from '../../src/compose/reload.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { EventName, LogFields } from '../../src/events.ts';

const path = '/srv/app/mail.toml';
const url = (password: string) => `database.url = "mysql://app:${password}@127.0.0.1/desk"`;

function load(toml: string): Config {
  const readFile = (name: string): Uint8Array => {
    if (name === path) return Buffer.from(toml);
    throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
  };
  return loadConfig({ file: path, env: {}, cwd: '/srv/app', readFile });
}

/** A daemon that runs with `toml`; `reload` reads another text in its place. */
function running(toml: string) {
  const at = {
    config: load(toml),
    told: [] as string[],
    logged: [] as EventName[],
    passwords: [] as string[],
    pins: [] as (string | null)[],
  };
  let text = toml;
  const record = (_: LogFields, event: EventName) => void at.logged.push(event);
  const log = { level: 'info', debug: record, info: record, warn: record, error: record };
  const tell = (what: string) => () => void at.told.push(what);
  const parts = {
    load: async () => load(text),
    log,
    serviceManager: { reloading: tell('reloading'), ready: tell('ready') },
    current: () => at.config,
    adopt: (next: Config) => {
      at.config = applyReload(at.config, next, ({ password, fingerprint }) => {
        at.pins.push(fingerprint);
        at.passwords.push(password?.use((bytes) => Buffer.from(bytes).toString()) ?? '');
      });
    },
    nowMs: () => 0,
  } as unknown as ReloadParts;
  const { reload, check } = createReload(parts);
  const reloadAs = async (next: string) => {
    text = next;
    await reload();
  };
  return { at, log, check, reloadAs };
}

test('limits, intervals and the log level change at once', async () => {
  const { at, log, check, reloadAs } = running('poll.interval_s = 60');
  await reloadAs('poll.interval_s = 5\nlimits.sender_limit_per_hour = 7\nlog.level = "debug"');
  expect([at.config.poll.intervalMs, at.config.limits.senderPerHourMax, log.level]).toEqual([5000, 7, 'debug']);
  expect(check()).toMatchObject({ status: 'ok', needs_restart: [] });
  expect([at.told, at.logged]).toEqual([['reloading', 'ready'], ['config.reloaded']]);
});

test('what needs a restart stays as it is, and is named', async () => {
  const { at, check, reloadAs } = running('poll.interval_s = 60');
  const { http } = at.config;
  await reloadAs('poll.interval_s = 5\nhttp.listen = "127.0.0.1:9999"');
  expect(at.config.http).toBe(http);
  expect(at.config.poll.intervalMs).toBe(5000);
  expect(check()).toMatchObject({ status: 'warning', needs_restart: ['http'] });
});

test.each(['poll.interval_s = 0', 'poll.intervall_s = 5', 'poll.interval_s = ', 'http.listen = "0.0.0.0:80"'])(
  'an invalid file (%s) changes nothing, is reported, and is forgotten once it is corrected',
  async (wrong) => {
    const { at, check, reloadAs } = running('poll.interval_s = 60');
    const before = at.config;
    await reloadAs(`limits.sender_limit_per_hour = 7\n${wrong}`);
    expect(at.config).toBe(before);
    expect(check()).toMatchObject({ status: 'warning', reason: expect.stringMatching(/^config_invalid: /) });
    expect([at.told, at.logged]).toEqual([['reloading', 'ready'], ['config.reload_failed']]);
    await reloadAs('poll.interval_s = 5');
    expect(at.config.poll.intervalMs).toBe(5000);
    expect(check()).toMatchObject({ status: 'ok', reason: null });
  },
);

test('a changed database password is used for the next logins, an equal one is not', async () => {
  const { at, check, reloadAs } = running(url('former'));
  await reloadAs(url('former'));
  expect(at.passwords).toEqual([]);
  await reloadAs(url('later'));
  expect(at.passwords).toEqual(['later']);
  expect(check()).toMatchObject({ status: 'ok', needs_restart: [] });
});

test('a fingerprint of the database applies to the next logins, where TLS begins with it too', async () => {
  const { at, check, reloadAs } = running(url('same'));
  const pinned = (digit: string) => `${url('same')}\ndatabase.fingerprint = "${digit.repeat(64)}"`;
  await reloadAs(pinned('a'));
  await reloadAs(pinned('a'));
  await reloadAs(pinned('b'));
  expect(at.pins).toEqual(['a'.repeat(64), 'b'.repeat(64)]);
  expect(at.config.database).toMatchObject({ tls: 'verify', fingerprint: 'b'.repeat(64) });
  expect(check()).toMatchObject({ status: 'ok', needs_restart: [] });
});
