/**
 * Makes sure that the servers which the tests run against are installed.
 *
 * As root with apt it installs what is missing, without starting any service. Everywhere else, and when that fails,
 * it gives the exact command to run. Nothing is ever left out because a server is missing.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { browserPrograms } from './support/browser.ts';
import { findFaketime } from './support/faults/faked-clock.ts';
import { galeraLibraries } from './support/servers/galera.ts';
import { findProgram, runProgram } from './support/servers/programs.ts';

type Need = { readonly program: string; readonly packageName: string };

const needs: readonly Need[] = [
  { program: 'dovecot', packageName: 'dovecot-imapd' },
  { program: 'doveadm', packageName: 'dovecot-imapd' },
  { program: 'mariadbd', packageName: 'mariadb-server-core' },
  { program: 'mariadb-install-db', packageName: 'mariadb-server-core' },
  { program: 'mariadb', packageName: 'mariadb-client-core' },
  { program: 'mariadb-dump', packageName: 'mariadb-client' },
  { program: 'sqlite3', packageName: 'sqlite3' },
  { program: 'openssl', packageName: 'openssl' },
  { program: 'gcore', packageName: 'gdb' },
  { program: 'age', packageName: 'age' },
  { program: 'systemctl', packageName: 'systemd' },
  { program: 'python3', packageName: 'python3' },
  { program: 'zsh', packageName: 'zsh' },
  { program: 'fish', packageName: 'fish' },
  { program: 'mandoc', packageName: 'mandoc' },
  { program: 'promtool', packageName: 'prometheus' },
  { program: 'amtool', packageName: 'prometheus-alertmanager' },
];

/** Its own folder keeps Dovecot's IMAP service, which has a package of its own. */
const imapServices = ['/usr/lib/dovecot/imap', '/usr/libexec/dovecot/imap', '/usr/local/libexec/dovecot/imap'];

const serviceGuard = '/usr/sbin/policy-rc.d';

/** `ready`, with a sentence for the status line, or `failed`, with what to do. */
export type Preflight = { readonly kind: 'ready' | 'failed'; readonly text: string };

export async function preflight(): Promise<Preflight> {
  const missing = missingPackages();
  if (missing.length > 0) {
    if (process.getuid?.() !== 0 || findProgram('apt-get') === null) return { kind: 'failed', text: advice(missing) };
    const problem = install(missing);
    if (problem !== null) return { kind: 'failed', text: `${problem}\n${advice(missing)}` };
    const still = missingPackages();
    if (still.length > 0) return { kind: 'failed', text: `still missing after the installation: ${still.join(' ')}` };
  }
  return dovecotVersion(missing.length === 0 ? '' : `, installed ${missing.join(' ')}`);
}

function missingPackages(): string[] {
  const missing = needs.filter(({ program }) => findProgram(program) === null).map(({ packageName }) => packageName);
  if (!imapServices.some((path) => existsSync(path))) missing.push('dovecot-imapd');
  if (!galeraLibraries.some((path) => existsSync(path))) missing.push('galera-4');
  if (browserPrograms.every((program) => findProgram(program) === null)) missing.push('chromium-headless-shell');
  if (findFaketime() === null) missing.push('libfaketime');
  return [...new Set(missing)];
}

function advice(packages: readonly string[]): string {
  const command = `apt-get update && apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  return `The tests run against a real Dovecot, a real MariaDB with Galera, libfaketime, systemd, gdb, Python, zsh, fish, mandoc, promtool, amtool, Chromium and the age tool. Run as root:\n  ${command}`;
}

/** Null when it went well, else everything that apt printed. */
function install(packages: readonly string[]): string | null {
  // Debian asks this file before it starts a freshly installed service; 101 means "not allowed".
  const guarded = existsSync(serviceGuard);
  if (!guarded) writeFileSync(serviceGuard, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return (
      apt(['update']) ?? apt(['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...packages])
    );
  } finally {
    if (!guarded) rmSync(serviceGuard);
  }
}

function apt(args: readonly string[]): string | null {
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  const ran = spawnSync('apt-get', ['-q', ...args], { env: environment, encoding: 'utf8', maxBuffer: 1 << 26 });
  return ran.status === 0 ? null : `apt-get ${args.join(' ')} failed:\n${ran.stdout}${ran.stderr}`;
}

/** Dovecot 2.4 reads another configuration language than 2.3. */
async function dovecotVersion(more: string): Promise<Preflight> {
  const version = (await runProgram('dovecot', ['--version'])).trim();
  if (version.startsWith('2.3.')) return { kind: 'ready', text: `Dovecot ${version.split(' ')[0]}${more}` };
  return { kind: 'failed', text: `The tests know Dovecot 2.3, and this is ${version}.` };
}
