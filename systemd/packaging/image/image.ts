/**
 * Container image (`ticketmaild-VERSION-ARCH.oci.tar`): an OCI archive, built by buildah from image/Containerfile.
 *
 * No step of the Containerfile runs a program, so that any machine builds the image of any architecture. buildah keeps
 * its storage in the work folder and needs no daemon.
 */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runTool } from '../command.ts';
import { type Architecture, nodeBinary } from '../node-package.ts';
import type { MakePackages, PackageFile, PackageRequest } from '../package-request.ts';
import { copyTo, setModes, sizeOf } from '../tree.ts';
import { copyDebianLibraries } from './debian-libraries.ts';
import { writeOciArchive } from './oci-archive.ts';

const sources = import.meta.dirname;

/** The same as in the Debian package. */
const programPath = 'usr/lib/ticketmaild';

export const makeImages: MakePackages = async (request) => {
  // Before the work that takes long.
  await runTool('buildah', ['--version']);
  const images: PackageFile[] = [];
  for (const architecture of request.architectures) {
    request.showStep(`image for ${architecture}`);
    images.push(await makeImage(architecture, request));
  }
  return images;
};

async function makeImage(
  architecture: Architecture,
  { program, version, dateS, workFolder }: PackageRequest,
): Promise<PackageFile> {
  const work = join(workFolder, architecture);
  const context = join(work, 'context');
  await makeContext(context, { architecture, program: program.path, workFolder: join(work, 'libraries') });
  const name = `localhost/ticketmaild:${version}`;
  const pushed = join(work, 'pushed');
  await runBuildah(work, [
    ...['bud', '--isolation', 'chroot', '--format', 'docker', '--layers', '--identity-label=false'],
    ...['--arch', architecture, '--timestamp', `${dateS}`, '--build-arg', `VERSION=${version}`],
    ...['--file', join(sources, 'Containerfile'), '--tag', name, context],
  ]);
  await runBuildah(work, ['push', '--format', 'v2s2', name, `dir:${pushed}`]);
  const path = join(workFolder, `ticketmaild-${version}-${architecture}.oci.tar`);
  await writeOciArchive(pushed, { name, archive: path, folder: join(work, 'layout'), dateS });
  return { path, files: (await sizeOf(context)).files };
}

/** The folders that the Containerfile copies. Owners are set there; modes do not depend on the umask. */
async function makeContext(
  context: string,
  { architecture, program, workFolder }: { architecture: Architecture; program: string; workFolder: string },
): Promise<void> {
  const [base, layer] = [join(context, 'base'), join(context, 'program')];
  await mkdir(workFolder, { recursive: true });
  await copyDebianLibraries(architecture, base, workFolder);
  await copyTo(await nodeBinary(architecture), join(base, programPath, 'node'));
  for (const name of ['passwd', 'group', 'nsswitch.conf', 'os-release']) {
    await copyTo(join(sources, 'root/etc', name), join(base, 'etc', name));
  }
  await copyTo(program, join(layer, programPath));
  for (const path of ['etc/ticketmaild', 'usr']) await copyTo(join(sources, 'root', path), join(layer, path));
  const data = join(context, 'data/ticketmaild');
  for (const folder of [data, join(base, 'tmp')]) await mkdir(folder, { recursive: true });
  await setModes(context);
  await chmod(data, 0o700);
  await chmod(join(base, 'tmp'), 0o1777);
}

async function runBuildah(work: string, args: readonly string[]): Promise<void> {
  const [storage, state] = [join(work, 'storage'), join(work, 'state')];
  await runTool('buildah', ['--storage-driver', 'vfs', '--root', storage, '--runroot', state, ...args]);
}
