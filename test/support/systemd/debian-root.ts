/**
 * Root folders made by debootstrap, each with nothing of this machine: a minimal Debian 12 with systemd, as a new
 * server has it, an empty Debian 13, and MySQL of Debian unstable.
 *
 * One takes up to minutes and 400 MB once, in the cache beside the packages, from the mirror that debootstrap and apt
 * are configured with. Later runs need no network.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram, runProgram } from '../servers/programs.ts';

const cache = fileURLToPath(new URL('../../../node_modules/.cache', import.meta.url));

/** Fetched along with Debian 12, not installed, is what the package needs beside it. */
const scripts = {
  'debian-12': `
debootstrap --include=systemd,systemd-sysv,ca-certificates bookworm "$0"
for step in clean 'update --error-on=any' 'install --yes --download-only libatomic1'; do
  chroot "$0" apt-get --quiet $step
done
rm -f "$0/usr/sbin/policy-rc.d"`,
  'debian-13': `
debootstrap --variant=minbase trixie "$0"
rm -rf "$0"/var/cache/apt/* "$0"/var/lib/apt/lists/*`,
  mysql: `
debootstrap --variant=minbase --include=mysql-server-core,mysql-client-core sid "$0"
rm -rf "$0"/var/cache/apt/* "$0"/var/lib/apt/lists/*`,
} as const;

export type DebianRoot = keyof typeof scripts;

function hasDebianRoot(name: DebianRoot = 'debian-12'): boolean {
  return existsSync(join(cache, name));
}

/** Null when it is in the cache or can be tried here, else the reason. */
export function whyNoDebianRoot(name: DebianRoot = 'debian-12'): string | null {
  if (hasDebianRoot(name)) return null;
  if (findProgram('debootstrap') === null) return 'debootstrap is not installed';
  return process.getuid?.() === 0 ? null : 'debootstrap needs root';
}

/** The folder, which is only to be read. Throws with what debootstrap or apt printed, as without the archive. */
export async function debianRoot(name: DebianRoot = 'debian-12'): Promise<string> {
  return await cachedFolder(name, scripts[name], []);
}

/**
 * A folder of the cache that a shell script makes: its path is `$0`, `args` follow. One with the right name is whole.
 */
export async function cachedFolder(name: string, script: string, args: readonly string[]): Promise<string> {
  const path = join(cache, name);
  if (existsSync(path)) return path;
  await mkdir(cache, { recursive: true });
  await removeLeftOvers(name);
  const making = `${path}.new-${process.pid}`;
  try {
    // In mount points of its own: what is mounted below the folder is gone before that is removed.
    await runProgram('unshare', ['--mount', '--propagation=private', 'sh', '-euc', script, making, ...args]);
    await rename(making, path).catch((error) => {
      if (!existsSync(path)) throw error;
    });
    return path;
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

/** Of runs that were killed. */
async function removeLeftOvers(name: string): Promise<void> {
  for (const left of await readdir(cache)) {
    const pid = left.startsWith(`${name}.new-`) ? left.slice(`${name}.new-`.length) : null;
    if (pid !== null && !existsSync(`/proc/${pid}`)) await rm(join(cache, left), { recursive: true });
  }
}
