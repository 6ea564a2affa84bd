/**
 * A caller sets variables that load code or trust into a command of root: the wrapper passes on none of them, and its
 * program has no core dump. The example for sudo delegates whole command lines that write and name no file.
 */
import { spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { findProgram } from '../../support/servers/programs.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const systemd = fileURLToPath(new URL('../../../systemd/', import.meta.url));

/** In place of Node: prints what it was given. */
const probe = '#!/bin/sh\nenv\nulimit -c\ncat /proc/self/coredump_filter\numask\nprintf "arg %s\\n" "$@"\n';

test('only settings, language and terminal come from the caller', async () => {
  await using folder = await temporaryFolder('wrapper');
  const wrapper = join(folder.path, 'systemd', 'ticketmaild');
  await mkdir(dirname(wrapper));
  await writeFile(join(folder.path, 'node'), probe, { mode: 0o755 });
  await copyFile(join(systemd, 'ticketmaild'), wrapper);
  const evil = {
    NODE_OPTIONS: '--require=/tmp/evil.js',
    NODE_EXTRA_CA_CERTS: '/tmp/evil.pem',
    NODE_TLS_REJECT_UNAUTHORIZED: '0',
    NODE_USE_ENV_PROXY: '1',
    HTTPS_PROXY: 'http://evil.test',
    LD_PRELOAD: '/nowhere/evil.so',
    LD_LIBRARY_PATH: '/tmp',
    OPENSSL_CONF: '/tmp/evil.cnf',
    SSL_CERT_FILE: '/tmp/evil.pem',
    UV_USE_IO_URING: '1',
    BASH_ENV: '/tmp/evil.sh',
    ENV: '/tmp/evil.sh',
    PATH: `/tmp/evil:${process.env.PATH}`,
    IFS: 'a',
    TZ: ':/etc/shadow',
    MANY: 'one\nLD_AUDIT=/tmp/evil.so',
    CALLED_AS_TICKETMAILD: '/tmp/evil/ticketmaild',
  };
  const kept = { LANG: 'C.UTF-8', TERM: 'xterm', TICKETMAILD_LOG_LEVEL: 'debug', SUDO_USER: 'ada' };
  const ran = spawnSync('sh', ['-c', 'ulimit -c unlimited 2>/dev/null; exec "$@"', 'sh', wrapper, 'status', '--all'], {
    env: { ...evil, ...kept },
    encoding: 'utf8',
  });
  for (const [name, value] of Object.entries(kept)) expect(ran.stdout).toContain(`${name}=${value}\n`);
  for (const name of Object.keys(evil).filter((one) => one !== 'PATH'))
    expect(ran.stdout).not.toMatch(new RegExp(`^${name}=`, 'm'));
  expect(ran.stdout).not.toContain('evil');
  expect(ran.stdout).toMatch(/\n0\n0{8}\n0?077\narg --disable-sigusr1\n/);
  expect(ran.stdout).toMatch(/\narg status\narg --all\n$/);
});

test('the example for sudo is valid, and admits no option that names a file', async () => {
  const text = await readFile(join(systemd, 'sudoers'), 'utf8');
  const lines = text.split('\n').filter((line) => /^ +\/usr\/local\/bin\/ticketmaild /.test(line));
  expect(lines.length).toBeGreaterThan(5);
  for (const line of lines) {
    const isPattern = line.includes(' ^');
    // Without a pattern sudo compares the whole line; a name cannot begin with -.
    if (isPattern) expect(line).toMatch(/ \^mailbox \([a-z|]+\) \[A-Za-z0-9\]\[A-Za-z0-9\._@-\]\*\$$/);
    else expect(line).toMatch(/^ +\S+( (--)?[a-z]+)+(, \\)?$/);
    expect(line).not.toMatch(
      / (key|run|admin|message|encryption (enable|disable|rotate)|--config|mailbox (add|set))\b/,
    );
  }
  expect(text).not.toMatch(/(^|[^!])setenv|!env_reset/im);
  if (findProgram('visudo') === null) return;
  await using folder = await temporaryFolder('sudoers');
  const copy = join(folder.path, 'sudoers');
  await copyFile(join(systemd, 'sudoers'), copy);
  await chmod(copy, 0o440);
  expect(spawnSync('visudo', ['-c', '-f', copy])).toMatchObject({ status: 0 });
});
