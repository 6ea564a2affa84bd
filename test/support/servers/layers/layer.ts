/**
 * Debian packages in overlay layers: a package is installed into a layer of its own over a root folder of its release,
 * so that servers which conflict, or come from another release, run side by side and leave the machine as it is.
 *
 * A layer is made once, by apt in a chroot of the overlay, and stays in the cache beside the npm packages; it takes
 * seconds, a root folder made by debootstrap a minute. A server runs in mount points of its own: the layer below a file
 * system in memory, with the folder of its data. Its processes have a PID namespace, and end with the first of them.
 * Needs root; `whyNoLayers` says what is missing.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedFolder, type DebianRoot, debianRoot } from '../../systemd/debian-root.ts';
import { findProgram, type RunningServer, runProgram, startServer } from '../programs.ts';

export type Release = Extract<DebianRoot, 'debian-12' | 'debian-13'>;

export type Layer = {
  /** Of the first package, without the revision of the distribution. */
  readonly version: string;
  /** Starts a program of the layer as `startServer` does; `folder` is at the same path inside. */
  start(folder: string, program: string, args: readonly string[]): RunningServer;
  /** Runs one to its end. */
  run(folder: string, program: string, args: readonly string[]): Promise<string>;
};

/** null: layers can be made here. */
export function whyNoLayers(): string | null {
  if (process.getuid?.() !== 0) return 'not root: no mount points of its own';
  const missing = ['debootstrap', 'unshare', 'chroot'].filter((name) => findProgram(name) === null);
  return missing.length === 0 ? null : `${missing.join(', ')} not installed`;
}

/** No service is started: policy-rc.d(8). The mount points end with the shell. */
const makeLayer = `
layer=$0 root=$1
shift
mkdir -p "$layer/upper" "$layer/work" "$layer/merged"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$layer/upper,workdir=$layer/work" "$layer/merged"
cd "$layer/merged"
mount -t proc proc proc
mount --bind /dev dev
cp /etc/resolv.conf etc/resolv.conf
printf '#!/bin/sh\\nexit 101\\n' > usr/sbin/policy-rc.d
chmod 755 usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
chroot . apt-get --quiet update --error-on=any
chroot . apt-get --quiet install --yes --no-install-recommends "$@"
rm -rf var/lib/apt/lists var/cache/apt/archives usr/sbin/policy-rc.d`;

/** What is written outside the folder of the data is gone with the mount points. */
const enter = `
folder=$0 root=$1 layer=$2
shift 2
place=$folder/.layer
mkdir -p "$place"
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/merged"
mount -t overlay overlay -o "lowerdir=$layer:$root,upperdir=$place/upper,workdir=$place/work" "$place/merged"
cd "$place/merged"
mount -t proc proc proc
mount --bind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p ".$folder"
mount --bind "$folder" ".$folder"
exec chroot . "$@"`;

/** Throws with what debootstrap or apt printed, as without the archive. */
export async function packageLayer(release: Release, packages: readonly string[]): Promise<Layer> {
  const root = await debianRoot(release);
  const [first = ''] = packages;
  const layer = join(await cachedFolder(`${release}-${first}`, makeLayer, [root, ...packages]), 'upper');
  const inside = (folder: string, program: string, args: readonly string[]): readonly string[] => [
    ...['--mount', '--propagation=private', '--pid', '--fork', '--kill-child', 'sh', '-euc', enter],
    ...[folder, root, layer, program, ...args],
  ];
  return {
    version: await packageVersion(layer, first),
    start: (folder, program, args) => startServer('unshare', inside(folder, program, args)),
    run: (folder, program, args) => runProgram('unshare', inside(folder, program, args)),
  };
}

/** `1:2.4.1+dfsg1-6+deb13u1` is 2.4.1. */
async function packageVersion(layer: string, name: string): Promise<string> {
  const status = await readFile(join(layer, 'var/lib/dpkg/status'), 'utf8');
  const entry = status.split('\n\n').find((paragraph) => paragraph.startsWith(`Package: ${name}\n`)) ?? '';
  return /^Version: (?:\d+:)?([\d.]+)/m.exec(entry)?.[1] ?? '';
}
