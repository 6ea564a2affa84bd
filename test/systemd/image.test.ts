/**
 * Static rules of the container image: Containerfile, configuration and compose.yaml agree with one another and with
 * the program, and keep no secret.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';

const folder = fileURLToPath(new URL('../../systemd/packaging/image', import.meta.url));
const text = (path: string) => readFileSync(join(folder, path), 'utf8');
const containerfile = text('Containerfile').replaceAll('\\\n', ' ');
const compose = text('compose.yaml');
const configuration = 'root/etc/ticketmaild/ticketmaild.toml';
const dataDir = '/var/lib/ticketmaild';

function instructions(name: string): readonly string[] {
  return [...containerfile.matchAll(new RegExp(`^${name} +(.*)$`, 'gm'))].map(([, value = '']) => value);
}

/** Configuration from the environment of the image, more variables, and its file, or another text. */
function configOf(more: Readonly<Record<string, string>> = {}, toml = text(configuration)) {
  const env = { TICKETMAILD_DATA_DIR: dataDir, ...more };
  const files: Readonly<Record<string, string>> = {
    '/etc/ticketmaild/ticketmaild.toml': toml,
    '/run/secrets/database-password': 'pw',
  };
  const readFile = (path: string): Uint8Array => {
    const content = files[path];
    if (content === undefined) throw Object.assign(new Error(path), { code: 'ENOENT' });
    return Buffer.from(content);
  };
  return loadConfig({ file: null, env, cwd: dataDir, readFile });
}

describe('the Containerfile', () => {
  test('runs no program, fetches nothing, and has one volume', () => {
    expect(instructions('FROM')).toEqual(['scratch']);
    for (const name of ['RUN', 'ADD', 'SHELL']) expect(instructions(name)).toEqual([]);
    expect(instructions('VOLUME')).toEqual([dataDir]);
    expect(instructions('ENV')).toContain(`TICKETMAILD_DATA_DIR=${dataDir}`);
  });

  test('has the user of its passwd, by number, who owns the data alone', () => {
    const [, uid, gid] = /^ticketmaild:x:(\d+):(\d+):/m.exec(text('root/etc/passwd')) ?? [];
    expect(instructions('USER')).toEqual([`${uid}:${gid}`]);
    expect(Number(uid)).toBeGreaterThan(999);
    expect(instructions('COPY').filter((value) => value.includes('--chown'))).toEqual([
      `--chown=${uid}:${gid} data/ /var/lib/`,
    ]);
    expect(text('root/etc/passwd').match(/\/usr\/sbin\/nologin$/gm)).toHaveLength(2);
  });

  test('starts every program without a shell, as there is none', () => {
    for (const name of ['ENTRYPOINT', 'CMD']) expect(JSON.parse(instructions(name)[0] ?? '')).toBeInstanceOf(Array);
    const check: string[] = JSON.parse(/\[.*\]/.exec(instructions('HEALTHCHECK')[0] ?? '')?.[0] ?? '');
    expect(check[1]).toMatch(/health-check\.js$/);
    expect(text('root/usr/bin/ticketmaild')).toMatch(/^#!\/usr\/lib\/ticketmaild\/node --disable-sigusr1\n/);
  });
});

describe('the configuration of the image', () => {
  test('serves health endpoints to its network, and the admin page to nothing outside', () => {
    const { http, admin } = configOf();
    expect(instructions('EXPOSE')).toEqual(['8025 8026']);
    expect(http).toMatchObject({ host: '0.0.0.0', port: 8025 });
    expect(admin).toMatchObject({ host: '127.0.0.1', port: 8026 });
  });

  test('has lines for a certificate that are valid', () => {
    const active = text(configuration).replaceAll(/^# (?=\[admin\]|\w+ = )/gm, '');
    expect(configOf({}, active).admin).toMatchObject({ host: '0.0.0.0', port: 8026, proxies: [] });
  });
});

describe('compose.yaml', () => {
  const services = [...compose.matchAll(/^ {2}(daemon|database):\n(?: {4}.*\n|\n)+/gm)].map(([lines, name = '']) => ({
    name,
    lines,
  }));

  test('has the image of this version', () => {
    const { version } = JSON.parse(readFileSync(join(folder, '../../../package.json'), 'utf8'));
    expect(compose).toContain(`image: localhost/ticketmaild:${version}\n`);
  });

  test.each(services)('the service $name is confined', ({ lines }) => {
    const confined = [
      'read_only: true',
      'cap_drop:\n      - ALL',
      '- no-new-privileges:true',
      'core: 0',
      'healthcheck:',
    ];
    for (const line of confined) expect(lines).toContain(line);
    expect(lines).not.toMatch(/privileged: true|cap_add|docker\.sock|pid: host|network_mode: host/);
  });

  test('both services were found; the database has no network', () => {
    expect(services.map(({ name }) => name)).toEqual(['daemon', 'database']);
    expect(services[1]?.lines).toContain('network_mode: none');
    expect(services[0]?.lines).toContain('condition: service_healthy');
  });

  test('no password is in an environment; ports are those of this machine', () => {
    const passwords = [...compose.matchAll(/^ +\w*PASS\w*: (.*)$/gm)].map(([, value]) => value);
    expect(passwords.length).toBeGreaterThan(2);
    for (const value of passwords) expect(value).toMatch(/^\/run\/secrets\/[a-z-]+$/);
    const ports = [...compose.matchAll(/^ +(?:# )?- (\S*:80\d\d)$/gm)].map(([, port]) => port);
    expect(ports).toEqual(['127.0.0.1:8025:8025', '127.0.0.1:8026:8026']);
  });

  test('the environment of the daemon is a valid configuration', () => {
    const variables = [...compose.matchAll(/^ {6}(TICKETMAILD_\w+): (.+)$/gm)].map(([, name, value]) => [name, value]);
    expect(configOf(Object.fromEntries(variables)).database).toMatchObject({
      ...{ kind: 'mysql', socketPath: '/run/mysqld/mysqld.sock', database: 'helpdesk_mail' },
    });
  });

  test('the health check is that of the image', () => {
    const [, inImage] = /CMD (\[.*\])/.exec(instructions('HEALTHCHECK')[0] ?? '') ?? [];
    const [, inCompose] = /test: \["CMD", (.*health-check.*\])/.exec(compose) ?? [];
    expect(`[${inCompose}`).toBe(inImage);
  });
});
