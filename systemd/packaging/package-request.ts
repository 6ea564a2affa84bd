/** Request for one kind of package, and the architectures it may be for. */
import type { Architecture } from './node-package.ts';
import type { ProgramFolder } from './program-folder.ts';

export type PackageRequest = {
  /** Just built; every package contains it unchanged. */
  readonly program: ProgramFolder;
  readonly version: string;
  /** A kind that does not depend on the architecture ignores them. */
  readonly architectures: readonly Architecture[];
  /** Of every file in the package, in seconds since 1970. */
  readonly dateS: number;
  /** Empty, on the file system of the results, and removed afterwards. */
  readonly workFolder: string;
  /** Shows a step that takes longer than a second, on a terminal alone. */
  readonly showStep: (step: string) => void;
};

/** A finished file in the work folder, named as in `dist/`, which it is moved to. */
export type PackageFile = { readonly path: string; readonly files: number };

/** Makes the packages of a kind, one for each architecture, or one for all. */
export type MakePackages = (request: PackageRequest) => Promise<readonly PackageFile[]>;
