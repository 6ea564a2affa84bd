/**
 * A clean checkout and the packages that the program needs, as an operator has them before an installation, and what a
 * machine gets beside: a stand-in for npm, and settings of its own for a unit.
 */

import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../servers/programs.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const parts = ['src', 'config', 'systemd', 'package.json', 'package-lock.json', '.npmrc', 'README.md', 'LICENSE'];

/** Copies the checkout without packages and tests to `to`, which must not exist. */
export async function copyCheckout(to: string): Promise<void> {
  await mkdir(to);
  await runProgram('cp', ['-R', ...parts.map((part) => join(root, part)), to]);
}

type Lock = { readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly bin?: unknown }>> };

/**
 * A node_modules at `to` with what `npm ci --omit=dev --ignore-scripts` puts there, copied from the one of this
 * checkout.
 */
export async function copyPackages(to: string): Promise<void> {
  const lock: Lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'));
  const wanted = Object.entries(lock.packages)
    .filter(([path, { dev }]) => path.startsWith('node_modules/') && dev !== true && existsSync(join(root, path)))
    .map(([path]) => path.slice('node_modules/'.length))
    // What lies inside another package is copied with it.
    .filter((path) => !path.includes('/node_modules/'));
  const node = wanted.find((path) => /^node-(linux|bin)-/.test(path));
  if (node === undefined) throw new Error('no Node among the packages: run npm ci');
  // Its headers are a third of everything, and not used.
  const paths = wanted.map((path) => (path === node ? join(path, 'bin') : path));
  await mkdir(join(to, '.bin'), { recursive: true });
  for (const path of paths) {
    await mkdir(dirname(join(to, path)), { recursive: true });
    await runProgram('cp', ['-a', '--reflink=auto', join(root, 'node_modules', path), join(to, path)]);
  }
  await symlink(`../${node}/bin/node`, join(to, '.bin', 'node'));
}

/** A script that gives a unit settings of the sysadmin's own. */
export function dropIn(name: string, settings: string, unit = 'ticketmaild'): string {
  const folder = `/etc/systemd/system/${unit}.service.d`;
  const write = `printf '[Service]\\n%s\\n' '${settings}' >${folder}/${name}.conf`;
  return `mkdir -p ${folder} && ${write} && systemctl daemon-reload`;
}

/** A script that gives a socket unit another address; the network is that of all tests. */
export function socketAddress(unit: string, address: string): string {
  const folder = `/etc/systemd/system/${unit}.socket.d`;
  const lines = ['', address, address.replace('127.0.0.1', '[::1]')].map((one) => `ListenStream=${one}`);
  const write = `printf '%s\\n' '[Socket]' '${lines.join("' '")}' >${folder}/address.conf`;
  return `mkdir -p ${folder} && ${write} && systemctl daemon-reload`;
}

/** Stands in for npm: writes down how it was called. */
export const npmStandIn = `
mkdir -p /usr/local/sbin && cd /usr/local/sbin && ln -sf /srv/packages/.bin/node node
printf '%s\\n' '#!/bin/sh' 'echo "$PWD $*" >>/root/npm-calls' '[ ! -e /root/npm-fails ] || exit 1' \
  'cp -R /srv/packages node_modules' >npm
chmod 755 npm`;
