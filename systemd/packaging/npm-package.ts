/**
 * Package for npm (`ticketmaild-VERSION.tgz`): the program folder, with its command and the Node packages as optional
 * dependencies, of which npm installs the one for the machine.
 *
 * It has no other dependency and no script. The Node that runs npm does not matter, so that `engines` is left out.
 */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipFile, writeTar } from './archive.ts';
import { architectures, pinnedNode } from './node-package.ts';
import type { MakePackages } from './package-request.ts';

export const makeNpmPackage: MakePackages = async ({ program, version, dateS, workFolder }) => {
  const folder = join(workFolder, 'package');
  await cp(program.path, folder, { recursive: true });
  const file = join(folder, 'package.json');
  const { engines: _, ...common } = JSON.parse(await readFile(file, 'utf8'));
  const nodes = await Promise.all(architectures.map(pinnedNode));
  const platform = { os: ['linux'], cpu: ['x64', 'arm64'], libc: ['glibc'] };
  const optionalDependencies = Object.fromEntries(nodes.map((node) => [node.name, node.version]));
  const content = { ...common, bin: { ticketmaild: 'ticketmaild' }, ...platform, optionalDependencies };
  await writeFile(file, `${JSON.stringify(content, null, 2)}\n`);
  const tar = join(workFolder, 'package.tar');
  await writeTar(folder, tar, dateS);
  const path = join(workFolder, `ticketmaild-${version}.tgz`);
  await gzipFile(tar, path);
  return [{ path, files: program.files }];
};
