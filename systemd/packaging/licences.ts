/**
 * Third-party licences (THIRD-PARTY-LICENSES): name, version, source and licence text of each bundled package, and of
 * Node.js.
 *
 * A package without a licence text, with a licence that is not in the list below, or for development alone, fails the
 * build.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { checkout, readLock } from './checkout.ts';
import { PackagingFailure } from './command.ts';
import { pinnedNode, thisArchitecture } from './node-package.ts';

/** SPDX identifiers of licences under which a package may be shipped within an MIT-licensed program. */
const accepted = new Set(['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT', 'MIT-0', 'MPL-2.0']);

/** A package in the bundle. */
export type BundledPackage = {
  /** Path of its folder in the checkout, as in package-lock.json. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  readonly license: string;
};

export async function readBundledPackages(folders: readonly string[]): Promise<readonly BundledPackage[]> {
  const lock = await readLock();
  return await Promise.all(
    folders.map(async (folder) => {
      const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
      const path = folder.slice(folder.indexOf('/node_modules/') + 1);
      const locked = lock[path];
      if (locked?.version !== version) {
        throw new PackagingFailure(`${path} has version ${version}, package-lock.json ${locked?.version}: npm ci`);
      }
      if (locked?.dev === true) throw new PackagingFailure(`${path} is in the bundle, but for development alone`);
      if (!isAccepted(license)) throw new PackagingFailure(`${path} has the licence ${license}, which is not known`);
      return { path, name, version, license };
    }),
  );
}

/** An SPDX expression: a licence, or a choice of several. */
function isAccepted(license: string): boolean {
  return license
    .replace(/^\((.*)\)$/, '$1')
    .split(' OR ')
    .some((one) => accepted.has(one));
}

export async function thirdPartyLicences(packages: readonly BundledPackage[]): Promise<string> {
  const texts = await Promise.all(packages.map(licenceOf));
  return [
    'ticketmaild contains the following packages of npm, whose sources are fetched by: npm pack NAME@VERSION\n' +
      'The Debian package and the image also contain Node.js.\n',
    ...texts,
    await nodeLicence(),
  ].join(`\n${'-'.repeat(80)}\n\n`);
}

/** The licences of Node and of what it contains are in one file, the same for every architecture. */
async function nodeLicence(): Promise<string> {
  const { name, version } = await pinnedNode(thisArchitecture());
  return `Node.js ${version}\n\n${(await readFile(join(checkout, 'node_modules', name, 'LICENSE'), 'utf8')).trim()}\n`;
}

async function licenceOf({ path, name, version, license }: BundledPackage): Promise<string> {
  const folder = join(checkout, path);
  const names = (await readdir(folder)).filter((one) => /^(licen[cs]e|copying|notice)/i.test(one)).sort();
  if (!names.some((one) => !/^notice/i.test(one))) {
    throw new PackagingFailure(`${relative(checkout, folder)} contains no text of its licence`);
  }
  const texts = await Promise.all(names.map(async (one) => (await readFile(join(folder, one), 'utf8')).trim()));
  return `${name} ${version} (${license})\n\n${texts.join('\n\n').replaceAll('\r\n', '\n')}\n`;
}
