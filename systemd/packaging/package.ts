/**
 * Package command (`npm run package -- KIND`): builds the program and packages of it into `dist/`, with a bill of
 * materials and checksums.
 *
 * A package is moved to its place when it is complete; an interrupted command leaves the one before. Exit code 2 for an
 * unknown kind, architecture or option.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { readPackage, results, sourceDateS } from './checkout.ts';
import { PackagingFailure, runCommand } from './command.ts';
import { makeDebianPackages } from './debian/debian-package.ts';
import { makeImages } from './image/image.ts';
import { type Architecture, architectures, thisArchitecture } from './node-package.ts';
import { makeNpmPackage } from './npm-package.ts';
import type { MakePackages, PackageFile, PackageRequest } from './package-request.ts';
import { makeProgramFolder } from './program-folder.ts';
import { billOfMaterials } from './sbom.ts';

const kinds: Readonly<Record<string, MakePackages>> = {
  npm: makeNpmPackage,
  deb: makeDebianPackages,
  image: makeImages,
};

const usage = `Usage: npm run package -- KIND [--arch ARCHITECTURE]

Builds the program, and packages of it into dist/, with sbom.cdx.json and SHA256SUMS.

  KIND    ${[...Object.keys(kinds), 'all'].join(', ')}
  --arch  ${architectures.join(' or ')}, for the kinds that depend on it (default: this machine; all: both)
  --help  show this
`;

type Choice = { readonly kinds: readonly string[]; readonly architectures: readonly Architecture[] };

// No other user may exchange what root installs.
process.umask(0o022);
await runCommand('package', async () => {
  const choice = readArguments(process.argv.slice(2));
  if (choice === null) return void process.stdout.write(usage);
  await makePackages(choice);
});

/** Null: help is wanted. */
function readArguments(args: readonly string[]): Choice | null {
  const { values, positionals } = parsed(args);
  if (values.help === true) return null;
  const [kind, ...rest] = positionals;
  const known = [...Object.keys(kinds), 'all'];
  if (kind === undefined || rest.length > 0)
    throw new PackagingFailure(`one kind must be given: ${known.join(', ')}`, 2);
  if (!known.includes(kind)) throw new PackagingFailure(`there is no kind ${kind}: ${known.join(', ')}`, 2);
  const { arch } = values;
  const chosen = architectures.find((one) => one === arch);
  if (arch !== undefined && chosen === undefined) {
    throw new PackagingFailure(`there is no architecture ${arch}: ${architectures.join(', ')}`, 2);
  }
  const all = kind === 'all' ? architectures : [thisArchitecture()];
  return {
    kinds: kind === 'all' ? Object.keys(kinds) : [kind],
    architectures: chosen === undefined ? all : [chosen],
  };
}

function parsed(args: readonly string[]) {
  try {
    const options = { arch: { type: 'string' }, help: { type: 'boolean', short: 'h' } } as const;
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new PackagingFailure(`${(error as Error).message.split('\n', 1)[0]} See --help`, 2);
  }
}

async function makePackages(choice: Choice): Promise<void> {
  await removeLeftOvers();
  showStep('program');
  const program = await makeProgramFolder();
  const { version } = await readPackage();
  const workFolder = join(results, `.work-${process.pid}`);
  const request = { program, version, architectures: choice.architectures, dateS: await sourceDateS(), showStep };
  const made: string[] = [];
  for (const kind of choice.kinds) {
    showStep(kind);
    made.push(...(await makeKind(kinds[kind] as MakePackages, { ...request, workFolder })));
  }
  await replaceFile('sbom.cdx.json', await billOfMaterials(program.packages, request));
  await replaceFile('SHA256SUMS', await checksums(version));
  clearStep();
  for (const line of [sizeLine(basename(program.path), program.files, program.bytes), ...made]) {
    process.stdout.write(`${line}\n`);
  }
}

/** Removes the work folders of commands that were killed. */
async function removeLeftOvers(): Promise<void> {
  const names = existsSync(results) ? await readdir(results) : [];
  for (const name of names) {
    const pid = /^\.work-(\d+)$/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    await rm(join(results, name), { recursive: true, force: true });
  }
}

/** Returns a line about each package. */
async function makeKind(make: MakePackages, request: PackageRequest): Promise<readonly string[]> {
  try {
    await rm(request.workFolder, { recursive: true, force: true });
    await mkdir(request.workFolder, { recursive: true });
    const packages = await make(request);
    return await Promise.all(packages.map(keep));
  } finally {
    await rm(request.workFolder, { recursive: true, force: true });
  }
}

async function keep({ path, files }: PackageFile): Promise<string> {
  const name = basename(path);
  const { size } = await stat(path);
  await rename(path, join(results, name));
  return sizeLine(name, files, size);
}

function sizeLine(name: string, files: number, bytes: number): string {
  return `dist/${name}: ${(bytes / 1e6).toFixed(1)} MB, ${files} files`;
}

async function replaceFile(name: string, text: string): Promise<void> {
  const building = join(results, `.${name}.new-${process.pid}`);
  await writeFile(building, text, { mode: 0o644 });
  await rename(building, join(results, name));
}

/** In the format of sha256sum(1), over the results of this version. */
async function checksums(version: string): Promise<string> {
  const names = (await readdir(results)).filter(
    (name) => name === 'sbom.cdx.json' || (/^ticketmaild[-_]/.test(name) && name.includes(version)),
  );
  const lines = names.sort().map(async (name) => {
    const hash = createHash('sha256').update(await readFile(join(results, name)));
    return `${hash.digest('hex')}  ${name}\n`;
  });
  return (await Promise.all(lines)).join('');
}

function showStep(step: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${step} …`);
}

function clearStep(): void {
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K');
}
