/**
 * Run-time libraries of the image: files of Debian 12 packages, fetched by apt for any architecture, and the
 * certificates of ca-certificates as one file.
 *
 * apt uses the sources of this machine, which has to be Debian 12, with lists of its own below `dist/.debian`, and checks
 * signature and SHA-256. The image has the newest versions, and lists them in `/var/lib/dpkg/status.d`, as scanners
 * expect.
 */
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { results } from '../checkout.ts';
import { PackagingFailure, runTool } from '../command.ts';
import type { Architecture } from '../node-package.ts';

/** Those that Node needs (DT_NEEDED), and gcc-12-base with their licences. */
const packages = ['libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1', 'gcc-12-base', 'ca-certificates'];

/** Without iconv modules, debugging libraries and documentation. */
const kept = [
  /^lib(64)?\/ld-linux[^/]*$/,
  /^lib\/[^/]+\/(ld-linux[^/]*|lib(c\.so\.6|(dl|nss_dns|nss_files|resolv)\.so\.2|(m\.so\.6|pthread\.so\.0)))$/,
  /^(usr\/)?lib\/[^/]+\/lib(gcc_s|stdc\+\+|atomic)\.so\.[\d.]+$/,
  /^usr\/share\/doc\/[^/]+\/copyright$/,
  // Links to gcc-12-base.
  /^usr\/share\/doc\/lib(gcc-s1|stdc\+\+6|atomic1)$/,
];

const release = 'bookworm';

/** Copies the libraries and certificates into `root`; `workFolder` is empty. */
export async function copyDebianLibraries(architecture: Architecture, root: string, workFolder: string): Promise<void> {
  const archives = await fetchPackages(architecture, workFolder);
  const extracted = join(workFolder, 'extracted');
  for (const { name, path } of archives) {
    await runTool('dpkg-deb', ['--extract', path, extracted], { debian: 'dpkg' });
    await writeNew(join(root, 'var/lib/dpkg/status.d', name), await runTool('dpkg-deb', ['--field', path]));
  }
  const paths = await readdir(extracted, { recursive: true });
  for (const path of paths.filter((one) => kept.some((pattern) => pattern.test(one)))) {
    await cp(join(extracted, path), join(root, path), { verbatimSymlinks: true });
  }
  await writeNew(join(root, 'etc/ssl/certs/ca-certificates.crt'), await certificates(extracted));
}

async function fetchPackages(architecture: Architecture, workFolder: string) {
  await requireRelease();
  const state = join(results, '.debian', architecture);
  for (const folder of ['lists/partial', 'cache/archives/partial']) {
    await mkdir(join(state, folder), { recursive: true });
  }
  const options = {
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'APT::Sandbox::User': '',
    'APT::Update::Error-Mode': 'any',
    'Dir::Cache': join(state, 'cache'),
    'Dir::State': state,
    'Dir::State::Status': '/dev/null',
  };
  const apt = [...Object.entries(options).map(([name, value]) => `-o${name}=${value}`), '--quiet'];
  await runTool('apt-get', [...apt, 'update'], { debian: 'apt' });
  await runTool('apt-get', [...apt, 'download', ...packages], { cwd: workFolder, debian: 'apt' });
  const names = (await readdir(workFolder)).filter((name) => name.endsWith('.deb')).sort();
  return names.map((name) => ({ name: name.replace(/_.*$/, ''), path: join(workFolder, name) }));
}

/** The libraries come from the sources of this machine. */
async function requireRelease(): Promise<void> {
  const text = existsSync('/etc/os-release') ? await readFile('/etc/os-release', 'utf8') : '';
  if (text.split('\n').includes(`VERSION_CODENAME=${release}`)) return;
  throw new PackagingFailure(
    'the libraries of the image are those of Debian 12: build it on Debian 12, or in a container',
  );
}

/** As update-ca-certificates(8) writes it: all authorities of Mozilla, sorted by name. */
async function certificates(extracted: string): Promise<string> {
  const folder = join(extracted, 'usr/share/ca-certificates/mozilla');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.crt')).sort();
  const texts = await Promise.all(names.map(async (name) => (await readFile(join(folder, name), 'utf8')).trim()));
  return texts.map((text) => `${text}\n`).join('');
}

async function writeNew(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}
