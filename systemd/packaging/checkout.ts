/** Checkout that is packaged: its paths, package.json, package-lock.json and date. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PackagingFailure, runTool } from './command.ts';

export const checkout = resolve(import.meta.dirname, '../..');

/** The folder of all results. */
export const results = join(checkout, 'dist');

export type PackageJson = {
  readonly [key in 'name' | 'version' | 'description' | 'license' | 'type']: string;
} & { readonly engines: { readonly node: string }; readonly optionalDependencies: Readonly<Record<string, string>> };

export async function readPackage(): Promise<PackageJson> {
  return JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8'));
}

/** A package of package-lock.json. */
export type LockedPackage = {
  readonly version: string;
  /** Subresource Integrity: `sha512-BASE64`. */
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
};

/** The packages of package-lock.json, by the path of their folder. */
export async function readLock(): Promise<Readonly<Record<string, LockedPackage>>> {
  return JSON.parse(await readFile(join(checkout, 'package-lock.json'), 'utf8')).packages;
}

/**
 * Date of all files in packages, in seconds since 1970: SOURCE_DATE_EPOCH (reproducible-builds.org), else the newest
 * commit, else the date of the version in CHANGELOG.md.
 */
export async function sourceDateS(): Promise<number> {
  const given = process.env['SOURCE_DATE_EPOCH'] ?? (await commitDate()) ?? (await changelogDate());
  if (/^\d{1,11}$/.test(given ?? '')) return Number(given);
  throw new PackagingFailure('the date of the packages is not known: set SOURCE_DATE_EPOCH to seconds since 1970', 2);
}

async function commitDate(): Promise<string | null> {
  // Not of a repository that contains this folder.
  if (!existsSync(join(checkout, '.git'))) return null;
  return (await runTool('git', ['log', '-1', '--format=%ct'], { cwd: checkout })).trim();
}

async function changelogDate(): Promise<string | null> {
  const { version } = await readPackage();
  const lines = (await readFile(join(checkout, 'CHANGELOG.md'), 'utf8')).split('\n');
  const day = lines.find((line) => line.startsWith(`## ${version} - `))?.slice(-10);
  const atMs = Date.parse(`${day}T00:00:00Z`);
  return Number.isNaN(atMs) ? null : `${atMs / 1000}`;
}
