/**
 * Program folder `dist/program/`: bundles, launcher, wrapper, configuration, units and page assets, without Node.
 *
 * Every package contains it unchanged. Modes do not depend on the umask; the times of the files are for the packages to
 * set. It is written beside its place and then renamed, so that an interrupted build leaves the one before.
 */
import { chmod, copyFile, lstat, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bundle } from './bundle.ts';
import { checkout, readPackage, results } from './checkout.ts';
import { PackagingFailure } from './command.ts';
import { type BundledPackage, readBundledPackages, thirdPartyLicences } from './licences.ts';

export type ProgramFolder = {
  readonly path: string;
  readonly files: number;
  readonly bytes: number;
  /** In its bundles. */
  readonly packages: readonly BundledPackage[];
};

/** Copied as they are. Of `config` the documents alone: the rest of it is the configuration of this checkout. */
const copied = {
  LICENSE: 'LICENSE',
  'README.md': 'README.md',
  'config/README.md': 'config/README.md',
  'config/OAUTH.md': 'config/OAUTH.md',
  'src/adapters/web/assets': 'lib/assets',
  'src/ticketmaild': 'ticketmaild',
  systemd: 'systemd',
};

/** For checkouts alone. */
const left = new Set(['systemd/install', 'systemd/uninstall', 'systemd/service.sh', 'systemd/packaging']);

/** Builds it at `path`, in place of the one that is there. */
export async function makeProgramFolder(path: string = join(results, 'program')): Promise<ProgramFolder> {
  const building = `${path}.new-${process.pid}`;
  const former = `${path}.old-${process.pid}`;
  try {
    await mkdir(building, { recursive: true });
    const packages = await readBundledPackages(await bundle(join(building, 'lib')));
    for (const [from, to] of Object.entries(copied)) await copyTree(from, join(building, to));
    await writeFile(join(building, 'package.json'), await programPackage());
    await writeFile(join(building, 'ticketmaild.js'), await launcher());
    await writeFile(join(building, 'THIRD-PARTY-LICENSES'), await thirdPartyLicences(packages));
    const size = await normalize(building);
    await rename(path, former).catch(ignoreMissing);
    await rename(building, path);
    return { path, packages, ...size };
  } finally {
    await rm(building, { recursive: true, force: true });
    await rm(former, { recursive: true, force: true });
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  if (left.has(from)) return;
  const source = join(checkout, from);
  const stat = await lstat(source);
  if (stat.isSymbolicLink())
    throw new PackagingFailure(`${from} is a link: a package contains no file from elsewhere`, 2);
  if (!stat.isDirectory()) {
    await mkdir(dirname(to), { recursive: true });
    return await copyFile(source, to);
  }
  for (const name of await readdir(source)) await copyTree(join(from, name), join(to, name));
}

async function programPackage(): Promise<string> {
  const { name, version, description, license, type, engines } = await readPackage();
  return `${JSON.stringify({ name, version, description, license, type, engines }, null, 2)}\n`;
}

/** The launcher, with the paths of the program folder. The wrapper starts it, so that it needs no interpreter line. */
async function launcher(): Promise<string> {
  let code = await readFile(join(checkout, 'src/ticketmaild.js'), 'utf8');
  for (const [from, to] of [
    ['#!/usr/bin/env node\n', ''],
    ["'./main.ts'", "'./lib/main.js'"],
    ["'../node_modules/.cache/ticketmaild'", "'.cache'"],
  ] as const) {
    if (!code.includes(from)) throw new Error(`src/ticketmaild.js contains no ${from}`);
    code = code.replace(from, to);
  }
  return code;
}

/** Sets the modes 0755 and 0644. */
async function normalize(folder: string): Promise<Pick<ProgramFolder, 'files' | 'bytes'>> {
  let [files, bytes] = [0, 0];
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const stat = await lstat(path);
    const isRunnable = stat.isDirectory() || (await readFile(path)).subarray(0, 2).toString('latin1') === '#!';
    await chmod(path, isRunnable ? 0o755 : 0o644);
    if (!stat.isDirectory()) [files, bytes] = [files + 1, bytes + stat.size];
  }
  return { files, bytes };
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
