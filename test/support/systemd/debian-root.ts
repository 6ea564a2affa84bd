/**
 * Root folder of a minimal Debian 12 with systemd, made by debootstrap: what a new server has, and nothing of this
 * machine.
 *
 * It takes minutes and 400 MB once, in the cache beside the packages, from the mirror that debootstrap and apt are
 * configured with. Fetched along with it, not installed, is what the package needs beside it, so that later runs need
 * no network.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram, runProgram } from '../servers/programs.ts';

const cache = fileURLToPath(new URL('../../../node_modules/.cache', import.meta.url));
const name = 'debian-12';

/** In mount points of its own: what debootstrap mounts below the folder is gone before that is removed. */
const make = `
debootstrap --include=systemd,systemd-sysv,ca-certificates bookworm "$0"
for step in clean 'update --error-on=any' 'install --yes --download-only libatomic1'; do
  chroot "$0" apt-get --quiet $step
done
rm -f "$0/usr/sbin/policy-rc.d"`;

/** Null when it is in the cache or can be tried here, else the reason. */
export function whyNoDebianRoot(): string | null {
  if (existsSync(join(cache, name)) || findProgram('debootstrap') !== null) return null;
  return 'debootstrap is not installed';
}

/** The folder, which is only to be read. Throws with what debootstrap or apt printed, as without the archive. */
export async function debianRoot(): Promise<string> {
  const root = join(cache, name);
  if (existsSync(root)) return root;
  await mkdir(cache, { recursive: true });
  await removeLeftOvers();
  const making = `${root}.new-${process.pid}`;
  try {
    await runProgram('unshare', ['--mount', '--propagation=private', 'sh', '-euc', make, making]);
    await rename(making, root).catch((error) => {
      if (!existsSync(root)) throw error;
    });
    return root;
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

/** Of runs that were killed. */
async function removeLeftOvers(): Promise<void> {
  for (const left of await readdir(cache)) {
    const pid = left.startsWith(`${name}.new-`) ? left.slice(`${name}.new-`.length) : null;
    if (pid !== null && !existsSync(`/proc/${pid}`)) await rm(join(cache, left), { recursive: true });
  }
}
