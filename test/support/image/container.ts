/**
 * Containers of an OCI archive without an engine: its user, environment and command as PID 1 of namespaces of their
 * own, on a read-only root, without capabilities and new privileges. They share the network.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Ended, LogLine } from '../processes/daemon.ts';
import { ended, endWithUs, runProgram } from '../servers/programs.ts';

/** The OCI image configuration, as far as tests read it. */
export type ImageConfig = {
  readonly architecture: string;
  readonly config: {
    readonly User: string;
    readonly Env: readonly string[];
    readonly Entrypoint: readonly string[];
    readonly Cmd: readonly string[];
    readonly Healthcheck: { readonly Test: readonly string[] };
    readonly [key: string]: unknown;
  };
  readonly rootfs: { readonly diff_ids: readonly string[] };
};

export type UnpackedImage = {
  readonly name: string;
  readonly config: ImageConfig;
  /** All bytes of index, manifest and configuration. */
  readonly text: string;
  /** Its root file system. */
  readonly root: string;
};

/** Unpacks an archive into the new folder `folder`, layer by layer. */
export async function unpackImage(archive: string, folder: string): Promise<UnpackedImage> {
  const [layout, root] = [join(folder, 'layout'), join(folder, 'root')];
  await mkdir(layout, { recursive: true });
  await mkdir(root);
  await runProgram('tar', ['--extract', '--file', archive, '--directory', layout]);
  const blob = (digest: string) => join(layout, 'blobs/sha256', digest.replace('sha256:', ''));
  const indexText = await readFile(join(layout, 'index.json'), 'utf8');
  const [entry] = JSON.parse(indexText).manifests;
  const manifestText = await readFile(blob(entry.digest), 'utf8');
  const manifest: { config: { digest: string }; layers: readonly { digest: string }[] } = JSON.parse(manifestText);
  const configText = await readFile(blob(manifest.config.digest), 'utf8');
  for (const { digest } of manifest.layers) {
    await runProgram('tar', ['--extract', '--gzip', '--preserve-permissions', '--file', blob(digest), '-C', root]);
  }
  const name = entry.annotations['org.opencontainers.image.ref.name'];
  return { name, config: JSON.parse(configText), text: `${indexText}${manifestText}${configText}`, root };
}

export type ContainerOptions = {
  readonly image: UnpackedImage;
  /** A new folder for its mounts. */
  readonly folder: string;
  /** Folder of the data; it belongs to the user of the image. */
  readonly volume: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Files that are seen inside: path outside to path inside. */
  readonly files?: Readonly<Record<string, string>>;
  /** Instead of the command of the image. */
  readonly args?: readonly string[];
};

export type Container = {
  /** As seen from here. */
  pid(): number;
  /** Log lines so far. */
  lines(): readonly LogLine[];
  stderr(): string;
  /** Runs a program in it as its user, without a shell, like `podman exec`. */
  exec(command: readonly string[], input?: string): Promise<Ended>;
  signal(name: NodeJS.Signals): void;
  readonly exit: Promise<Ended>;
} & AsyncDisposable;

const script = fileURLToPath(new URL('container.sh', import.meta.url));
const spaces = ['--mount', '--propagation=private', '--pid', '--fork', '--uts', '--ipc'];

export async function startContainer(options: ContainerOptions): Promise<Container> {
  const { image, folder, volume, env = {}, files = {}, args = image.config.config.Cmd } = options;
  const { User, Env, Entrypoint } = image.config.config;
  await mkdir(folder);
  const environment = ['env', '-i', ...Env, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
  const mounts = [image.root, folder, User, volume, ...Object.entries(files).flat(), '--', ...Entrypoint, ...args];
  const start = ['setpriv', '--no-new-privs', 'unshare', ...spaces, 'bash', script, ...mounts];
  // The programs outside have a PATH of their own; the command is a full path.
  const child = spawn('env', [...environment, 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', ...start]);
  const printed = collect(child);
  const exit = ended(child).then((code) => ({ code, ...printed }));
  const first = (): number | null => {
    const [text = ''] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').split(' ');
    return text === '' ? null : Number(text);
  };
  const pid = (): number => {
    const found = first();
    if (found === null) throw new Error(`the container has ended:\n${printed.stdout}${printed.stderr}`);
    return found;
  };
  // PID 1 ends with all others in its namespace; unshare --kill-child has no effect after a change of user.
  const end = (): void => {
    if (child.exitCode === null && child.signalCode === null) process.kill(first() ?? child.pid ?? 0, 'SIGKILL');
  };
  endWithUs(child, end);
  return {
    pid,
    exit,
    lines: () => printed.stdout.split('\n').flatMap(parsedLine),
    stderr: () => printed.stderr,
    signal: (name) => void process.kill(pid(), name),
    exec: async (command, input = '') => {
      const [uid = '', gid = ''] = User.split(':');
      const enter = [`--target=${pid()}`, '--mount', '--pid', '--uts', '--ipc', '--root', '--wd'];
      const user = ['--setgid', gid, '--setuid', uid];
      const inside = spawn('/usr/bin/nsenter', [...enter, ...user, '--', ...command], {
        env: Object.fromEntries(environment.slice(2).map((one) => one.split(/=(.*)/s).slice(0, 2))),
      });
      endWithUs(inside);
      const output = collect(inside);
      inside.stdin?.on('error', () => inside.stdin?.destroy());
      inside.stdin?.end(input);
      return { code: await ended(inside), ...output };
    },
    [Symbol.asyncDispose]: async () => {
      end();
      await exit;
    },
  };
}

function collect(child: ChildProcess): { stdout: string; stderr: string } {
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (piece: string) => {
      printed[name] += piece;
    });
  }
  return printed;
}

function parsedLine(line: string): readonly LogLine[] {
  return line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line)] : [];
}
