/**
 * Debian package (`ticketmaild_VERSION_ARCH.deb`, deb(5)): the program folder with Node in /usr/lib/ticketmaild, units,
 * configuration as a conffile, manual pages, completion and maintainer scripts.
 *
 * dpkg-deb writes it, with one thread and the date of the sources, so that the same sources give the same bytes.
 */
import { chmod, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { completionScript } from '../../../src/commands/completion/completion.ts';
import { buildProgram } from '../../../src/commands/program.ts';
import { checkout } from '../checkout.ts';
import { runTool } from '../command.ts';
import { writeManPages } from '../man/man-pages.ts';
import { type Architecture, nodeBinary } from '../node-package.ts';
import type { MakePackages, PackageFile, PackageRequest } from '../package-request.ts';
import { copyTo, setModes, sizeOf } from '../tree.ts';
import { copyrightFile, debianChangelog } from './documents.ts';

const sources = import.meta.dirname;
const programPath = 'usr/lib/ticketmaild';
const unitsPath = 'usr/lib/systemd/system';
const documents = 'usr/share/doc/ticketmaild';
const configuration = 'etc/ticketmaild/ticketmaild.toml';

/** Places in the files of a checkout's installation, and in the package. */
const placeOf: readonly (readonly [checkout: string, debian: string])[] = [
  ['/usr/local/lib/ticketmaild/current/node_modules/.bin/node', '/usr/lib/ticketmaild/node'],
  ['/usr/local/lib/ticketmaild/current/src/ticketmaild.js', '/usr/lib/ticketmaild/ticketmaild.js'],
  ['/usr/local/lib/ticketmaild', '/usr/lib/ticketmaild'],
  ['/usr/local/bin/ticketmaild', '/usr/bin/ticketmaild'],
];

export const makeDebianPackages: MakePackages = async (request) => {
  // Before the work that takes long.
  await runTool('dpkg-deb', ['--version'], { debian: 'dpkg' });
  const packages: PackageFile[] = [];
  for (const architecture of request.architectures) {
    request.showStep(`deb for ${architecture}`);
    packages.push(await makeDebianPackage(architecture, request));
  }
  return packages;
};

async function makeDebianPackage(architecture: Architecture, request: PackageRequest): Promise<PackageFile> {
  const root = join(request.workFolder, `deb-${architecture}`);
  const { files } = await layOutDebianPackage(root, architecture, request);
  const path = join(request.workFolder, `ticketmaild_${request.version}_${architecture}.deb`);
  // Measured with Node alone: level 1 takes 9 s and makes 38 MB, level 6 takes 57 s and makes 32 MB.
  const compression = ['-Zxz', '-z1', '--threads-max=1', '--root-owner-group'];
  const env = { SOURCE_DATE_EPOCH: `${request.dateS}` };
  await runTool('dpkg-deb', [...compression, '--build', root, path], { debian: 'dpkg', env });
  return { path, files };
}

export type DebianPackageRequest = Pick<PackageRequest, 'program' | 'version' | 'dateS'>;

/** Puts every file of the package at its place below `root`, as dpkg-deb wants it. */
export async function layOutDebianPackage(
  root: string,
  architecture: Architecture,
  request: DebianPackageRequest,
): Promise<{ readonly files: number }> {
  await layOut(root, architecture, request);
  await setModes(root);
  await chmod(join(root, configuration), 0o640);
  const { files, bytes } = await sizeOf(root);
  await writeControl(join(root, 'DEBIAN'), { version: request.version, architecture, bytes });
  return { files };
}

async function layOut(root: string, architecture: Architecture, request: DebianPackageRequest): Promise<void> {
  const { program, version, dateS } = request;
  await copyTo(program.path, join(root, programPath));
  await copyTo(await nodeBinary(architecture), join(root, programPath, 'node'));
  await link('../lib/ticketmaild/systemd/ticketmaild', join(root, 'usr/bin/ticketmaild'));
  const systemd = join(root, programPath, 'systemd');
  for (const name of await readdir(systemd)) {
    if (!/\.(service|socket)$/.test(name)) continue;
    await write(join(root, unitsPath, name), withPlaces(await readFile(join(systemd, name), 'utf8')));
    await rm(join(systemd, name));
  }
  await copyTo(join(systemd, 'ticketmaild.toml'), join(root, configuration));
  await write(join(systemd, 'sudoers'), withPlaces(await readFile(join(systemd, 'sudoers'), 'utf8')));
  for (const name of ['README.md', 'LICENSE', 'THIRD-PARTY-LICENSES']) await rm(join(root, programPath, name));
  await layOutDocuments(root, { program, version, dateS });
  await layOutCompletion(join(root, 'usr/share'));
}

async function layOutDocuments(root: string, { program, version, dateS }: DebianPackageRequest): Promise<void> {
  const folder = join(root, documents);
  await writeGzip(join(folder, 'changelog.gz'), await debianChangelog({ version, dateS, maintainer: maintainer() }));
  await write(join(folder, 'copyright'), await copyrightFile(program.packages));
  await writeGzip(
    join(folder, 'THIRD-PARTY-LICENSES.gz'),
    await readFile(join(program.path, 'THIRD-PARTY-LICENSES'), 'utf8'),
  );
  await copyTo(join(program.path, 'README.md'), join(folder, 'README.md'));
  for (const [name, target] of [
    ['operation.md', 'systemd/README.md'],
    ['configuration.md', 'config/README.md'],
    ['examples/sudoers', 'systemd/sudoers'],
    ['examples/monitoring', 'systemd/monitoring'],
  ] as const) {
    await link(`${name.includes('/') ? '../' : ''}../../../lib/ticketmaild/${target}`, join(folder, name));
  }
  await copyTo(join(sources, 'lintian-overrides'), join(root, 'usr/share/lintian/overrides/ticketmaild'));
  const pages = join(root, 'usr/share/man/new');
  for (const page of await writeManPages(pages)) {
    const section = page.slice(-1);
    const name = page.slice(pages.length + 1);
    await writeGzip(join(root, `usr/share/man/man${section}/${name}.gz`), await readFile(page, 'utf8'));
  }
  await rm(pages, { recursive: true });
}

async function layOutCompletion(share: string): Promise<void> {
  const program = buildProgram(
    async () => undefined,
    () => undefined,
  );
  await write(join(share, 'bash-completion/completions/ticketmaild'), completionScript('bash', program));
  await write(join(share, 'zsh/vendor-completions/_ticketmaild'), completionScript('zsh', program));
  await write(join(share, 'fish/vendor_completions.d/ticketmaild.fish'), completionScript('fish', program));
}

type ControlFields = { readonly version: string; readonly architecture: Architecture; readonly bytes: number };

/** The control area (deb-control(5)), with the functions of systemd/service.sh in the scripts. */
async function writeControl(folder: string, { version, architecture, bytes }: ControlFields): Promise<void> {
  const fields = { VERSION: version, ARCHITECTURE: architecture, MAINTAINER: maintainer(), SIZE: kibibytes(bytes) };
  const control = await readFile(join(sources, 'control'), 'utf8');
  await write(
    join(folder, 'control'),
    Object.entries(fields).reduce((text, [name, value]) => text.replace(name, value), control),
  );
  await write(join(folder, 'conffiles'), `/${configuration}\n`);
  const functions = await readFile(join(checkout, 'systemd/service.sh'), 'utf8');
  for (const name of ['preinst', 'postinst', 'prerm', 'postrm']) {
    const script = await readFile(join(sources, name), 'utf8');
    await write(
      join(folder, name),
      script.replace('#INCLUDE service.sh\n', () => functions),
    );
    await chmod(join(folder, name), 0o755);
  }
  await chmod(folder, 0o755);
}

/** As other Debian tools take it from the environment. */
function maintainer(): string {
  const { DEBFULLNAME: name = 'the ticketmaild authors', DEBEMAIL: address = 'ticketmaild@helpdesk.invalid' } =
    process.env;
  return `${name} <${address}>`;
}

function kibibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024)}`;
}

function withPlaces(text: string): string {
  const changed = placeOf.reduce((rest, [from, to]) => rest.replaceAll(from, to), text);
  if (changed.includes('/usr/local')) throw new Error('a path of a checkout has no place in the package');
  return changed;
}

async function write(path: string, text: string | Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text, { mode: 0o644 });
}

async function writeGzip(path: string, text: string): Promise<void> {
  await write(path, await promisify(gzip)(text, { level: 9 }));
}

async function link(target: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await symlink(target, path);
}
