/**
 * Reload of the database settings: password and server key apply to the next login, anything else to the next start.
 */
import { expect, test, vi } from 'vitest';
import { applyReload, createReload } from '../../src/compose/reload.ts';
import type { Config, DatabaseLogin } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';

function configWith(more: object): Config {
  const config = loadConfig({
    file: null,
    env: { TICKETMAILD_DATA_DIR: '/srv', TICKETMAILD_DATABASE_URL: 'mysql://u@h/t' },
  });
  return { ...config, database: { ...config.database, ...more } as Config['database'] };
}

const secret = (text: string): SecretBytes => SecretBytes.take(Buffer.from(text));

test('a server key and a password are used by the next login', () => {
  const used: DatabaseLogin[] = [];
  const now = configWith({ password: secret('former') });
  const keyed = applyReload(now, configWith({ password: secret('former'), serverKeyPem: 'PEM' }), (login) =>
    used.push(login),
  );
  expect(keyed.database).toMatchObject({ serverKeyPem: 'PEM' });
  const password = secret('next');
  applyReload(keyed, configWith({ password, serverKeyPem: 'PEM' }), (login) => used.push(login));
  expect(used.map(({ serverKeyPem }) => serverKeyPem)).toEqual(['PEM', 'PEM']);
  expect(used[0]?.password?.equals(secret('former'))).toBe(true);
  expect(used[1]?.password).toBe(password);
});

test('an equal password is wiped, and so is one beside a setting that needs a restart', () => {
  const use = vi.fn();
  const now = configWith({ password: secret('p') });
  for (const more of [{}, { user: 'other', serverKeyPem: 'PEM' }]) {
    const given = secret(Object.keys(more).length === 0 ? 'p' : 'q');
    expect(applyReload(now, configWith({ password: given, ...more }), use).database).toBe(now.database);
    expect(given).toHaveLength(0);
  }
  expect(use).not.toHaveBeenCalled();
});

test('a server key alone needs no restart, TLS does', async () => {
  const lines: unknown[] = [];
  const next = [configWith({ serverKeyPem: 'PEM' }), configWith({ tls: 'off', serverKeyPem: 'PEM' })];
  const log = {
    info: (fields: unknown) => lines.push(fields),
    error: (fields: unknown) => lines.push(fields),
    level: 'info',
  };
  const reload = createReload({
    load: async () => next.shift() ?? configWith({}),
    log: log as never,
    serviceManager: { reloading: () => undefined, ready: () => undefined } as never,
    current: () => configWith({}),
    adopt: () => undefined,
    nowMs: Date.now,
  });
  await reload.reload();
  await reload.reload();
  expect(lines).toMatchObject([
    { changed: ['database'], needs_restart: [] },
    { changed: ['database'], needs_restart: ['database'] },
  ]);
});
