/**
 * Container image, built from a clean checkout and run: its archive, its limits, signals, health check, a ticket from a
 * mailbox, and what an interrupted build leaves.
 *
 * Both engines need rights that a machine of tests may lack; buildah loads the archive instead, and namespaces run it.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, lstat, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Container, startContainer, type UnpackedImage, unpackImage } from '../support/image/container.ts';
import { named } from '../support/processes/daemon.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';
import { ended, endWithUs, findProgram, freePort, runProgram } from '../support/servers/programs.ts';
import { copyCheckout } from '../support/systemd/checkout.ts';
import { whyNoSystemd } from '../support/systemd/systemd.ts';
import { temporaryFolder } from '../support/temporary.ts';

const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));
const unpackedBytesMax = 230e6;
const secret = 'canary-Vq8sLr2x';
const owner = 10_001;

/** Namespaces and overlays are those of a booted systemd. */
const why = (await whyNoSystemd()) ?? (findProgram('buildah') === null ? 'buildah is not installed' : null);
const title = `the container image${why === null ? '' : ` (left out: ${why})`}`;

describe.skipIf(why !== null)(title, { timeout: 120_000, tags: ['long'] }, () => {
  let place: Place;

  beforeAll(async () => {
    place = await openPlace();
  }, 180_000);

  afterAll(() => place?.[Symbol.asyncDispose]());

  test('it is under 230 MB, without a shell, another user, a program with rights of another, or a device', async () => {
    const { root } = place.image;
    const paths = await readdir(root, { recursive: true });
    const stats = await Promise.all(paths.map(async (path) => ({ path, stat: await lstat(join(root, path)) })));
    const bytes = stats.reduce((sum, { stat }) => sum + (stat.isFile() ? stat.size : 0), 0);
    expect(bytes).toBeGreaterThan(100e6);
    expect(bytes).toBeLessThan(unpackedBytesMax);
    expect(paths.filter((path) => /(^|\/)(sh|bash|dash|busybox|env|apt|dpkg)$/.test(path))).toEqual(['var/lib/dpkg']);
    const others = stats.filter(({ stat }) => stat.uid !== 0 || stat.gid !== 0).map(({ path }) => path);
    expect(others).toEqual(['var/lib/ticketmaild']);
    expect(stats.filter(({ stat }) => (stat.mode & 0o6000) !== 0)).toEqual([]);
    const writable = stats.filter(({ stat }) => !stat.isSymbolicLink() && (stat.mode & 0o022) !== 0);
    expect(writable.map(({ path }) => path)).toEqual(['tmp']);
    expect(stats.filter(({ stat }) => !stat.isFile() && !stat.isDirectory() && !stat.isSymbolicLink())).toEqual([]);
  });

  test('its configuration says who runs what', () => {
    const { config, name } = place.image;
    expect(name).toMatch(/^localhost\/ticketmaild:\d+\.\d+\.\d+$/);
    expect(config).toMatchObject({
      architecture: 'amd64',
      os: 'linux',
      config: {
        User: '10001:10001',
        Entrypoint: ['/usr/bin/ticketmaild'],
        Cmd: ['run'],
        Volumes: { '/var/lib/ticketmaild': {} },
        ExposedPorts: { '8025/tcp': {}, '8026/tcp': {} },
        StopSignal: 'SIGTERM',
        Healthcheck: { Test: ['CMD', '/usr/lib/ticketmaild/node', '/usr/lib/ticketmaild/health-check.js'] },
      },
    });
  });

  test('buildah loads the archive as one of OCI and as one of Docker, under its name', async () => {
    for (const kind of ['oci-archive', 'docker-archive']) {
      const storage = ['--storage-driver=vfs', `--root=${place.folder}/${kind}`, `--runroot=${place.folder}/run`];
      await runProgram('buildah', [...storage, 'pull', '--quiet', `${kind}:${place.archive}`]);
      expect(await runProgram('buildah', [...storage, 'images', '--format', '{{.Name}}:{{.Tag}}'])).toBe(
        `${place.image.name}\n`,
      );
      await rm(join(place.folder, kind), { recursive: true });
    }
  });

  test('no secret of the machine that built it is in a layer or in its history', async () => {
    expect(place.image.text).not.toContain(secret);
    const found = spawn('grep', ['--recursive', '--text', '--files-with-matches', secret, place.image.root]);
    expect(await ended(found)).toBe(1);
    const parts = 'key\\.bin|\\.env$|\\.db$|\\.git$|\\.pem$|password$';
    const named = await readdir(place.image.root, { recursive: true });
    expect(named.filter((path) => new RegExp(parts).test(path))).toEqual([]);
  });

  test('a killed build leaves the former image; the next one has the same bytes, and removes what it left', async () => {
    const before = await sha256(place.archive);
    const folders = async () => (await readdir(place.results)).filter((name) => name.startsWith('.work-'));
    const child = place.start(['image']);
    await expect.poll(folders, { timeout: 20_000 }).toHaveLength(1);
    const [work = ''] = await folders();
    await expect.poll(() => existsSync(join(place.results, work, 'amd64/storage')), { timeout: 20_000 }).toBe(true);
    // With buildah, as by Ctrl-C or a power cut.
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    await ended(child);
    expect(await sha256(place.archive)).toBe(before);
    expect(await folders()).toEqual([work]);
    await utimes(join(place.checkout, 'config/README.md'), 1, 1);
    await place.make(['image'], { TZ: 'Asia/Tokyo', LC_ALL: 'C.UTF-8' }, '077');
    expect(await folders()).toEqual([]);
    expect(await sha256(place.archive)).toBe(before);
    const sums = await readFile(join(place.results, 'SHA256SUMS'), 'utf8');
    expect(sums).toContain(`${before}  ${basename(place.archive)}\n`);
  });

  test('without buildah one line says how to get it', async () => {
    const child = place.start(['image'], { PATH: '/nowhere' });
    let stderr = '';
    child.stderr?.on('data', (piece: Buffer) => {
      stderr += piece.toString();
    });
    expect(await ended(child)).toBe(1);
    expect(stderr).toBe('package: buildah is missing: apt-get install buildah\n');
  });

  test('the image for arm64 has the same files, of that architecture', async () => {
    await place.make(['image', '--arch', 'arm64']);
    const other = await unpackImage(place.archive.replace('amd64', 'arm64'), join(place.folder, 'arm64'));
    expect(other.config.architecture).toBe('arm64');
    const names = async ({ root }: UnpackedImage) =>
      (await readdir(root, { recursive: true }))
        .map((path) => path.replace('aarch64-linux-gnu', 'x86_64-linux-gnu'))
        .filter((path) => !/(^|\/)(lib64|ld-linux[^/]*)$/.test(path))
        .sort();
    expect(await names(other)).toEqual(await names(place.image));
    for (const path of ['usr/lib/ticketmaild/node', 'lib/ld-linux-aarch64.so.1', 'lib/aarch64-linux-gnu/libc.so.6']) {
      // Field e_machine of the ELF header: EM_AARCH64.
      expect({ path, machine: (await readFile(join(other.root, path))).readUInt16LE(18) }).toEqual({
        path,
        machine: 183,
      });
    }
  });

  describe.each(['sqlite', 'mariadb'] as const)('on %s', (kind) => {
    let volume: string;
    let env: Readonly<Record<string, string>>;
    let files: Readonly<Record<string, string>>;
    let user: string;
    let starts = 0;

    beforeAll(async () => {
      volume = join(place.folder, `volume-${kind}`);
      await mkdir(volume, { mode: 0o700 });
      await chown(volume, owner, owner);
      user = place.dovecot.newUser();
      const settings = await place.database(kind);
      env = {
        TICKETMAILD_HTTP_LISTEN: `0.0.0.0:${await freePort()}`,
        TICKETMAILD_ADMIN_LISTEN: 'off',
        ...settings.env,
      };
      files = { ...settings.files, [place.dovecot.caFile]: '/etc/ticketmaild/ca.pem' };
    });

    const run = async (args?: readonly string[]): Promise<Container> => {
      starts += 1;
      const folder = join(place.folder, `container-${kind}-${starts}`);
      return await startContainer({ image: place.image, folder, volume, env, files, ...(args && { args }) });
    };
    const until = async (container: Container, event: string, count = 1) =>
      await expect
        .poll(() => container.lines().filter(named(event)).length, { timeout: 20_000, message: event })
        .toBeGreaterThanOrEqual(count);
    /** Throws when it fails. */
    const command = async (container: Container, args: readonly string[], input?: string): Promise<string> => {
      const { code, stdout, stderr } = await container.exec(['/usr/bin/ticketmaild', ...args], input);
      if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
      return stdout;
    };
    const healthCheck = () => place.image.config.config.Healthcheck.Test.slice(1);
    const deliver = (subject: string) =>
      place.dovecot.append(user, 'INBOX', [Buffer.from(`From: a@b.test\r\nSubject: ${subject}\r\n\r\nHello\r\n`)]);
    const stop = async (container: Container, signal: NodeJS.Signals) => {
      const startMs = performance.now();
      container.signal(signal);
      expect(await container.exit).toMatchObject({ code: 0, stderr: '' });
      expect(performance.now() - startMs).toBeLessThan(5_000);
    };
    const subjects = async (container: Container) => {
      const stdout = await command(container, ['ticket', 'list', '--json']);
      return [...stdout.matchAll(/"subject":"([^"]*)"/g)].map(([, subject]) => subject).sort();
    };

    test('the first ticket comes from a sealed mailbox; SIGTERM ends PID 1 with exit code 0', async () => {
      await using container = await run();
      await until(container, 'daemon.ready');
      expect(await container.exec(healthCheck())).toEqual({ code: 0, stdout: '/livez: 200\n', stderr: '' });
      await command(container, ['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
      const server = ['--host', 'localhost', '--port', `${place.dovecot.tlsPort}`, '--user', user];
      const options = ['--ca-file', '/etc/ticketmaild/ca.pem', '--since', 'all', '--password-stdin'];
      await command(container, ['mailbox', 'add', '--name', 'support', ...server, ...options], 'pw');
      await deliver('first');
      await until(container, 'message.ticket_opened');
      container.signal('SIGHUP');
      await until(container, 'config.reloaded');
      const status = await readFile(`/proc/${container.pid()}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\s+10001\s+10001\s+10001\s+10001$/m);
      expect(status).toMatch(/^CapEff:\s+0+$/m);
      // The guard against core dumps works without a shell and outside systemd.
      expect(await readFile(`/proc/${container.pid()}/coredump_filter`, 'latin1')).toBe('00000000\n');
      expect(await readFile(`/proc/${container.pid()}/limits`, 'latin1')).toMatch(/core file size +0 +0 /);
      expect((await readdir(`/proc/${container.pid()}/root/tmp`)).filter((name) => name !== '')).toEqual([]);
      await stop(container, 'SIGTERM');
      expect(container.lines().filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
    });

    test('the next start continues, and nothing is doubled; SIGINT ends it as well', async () => {
      await using container = await run();
      await until(container, 'daemon.ready');
      await deliver('second');
      await until(container, 'message.ticket_opened');
      expect(await subjects(container)).toEqual(['first', 'second']);
      await stop(container, 'SIGINT');
    });

    test('a container that is killed loses nothing', async () => {
      {
        await using container = await run();
        await until(container, 'daemon.ready');
        await deliver('third');
        container.signal('SIGKILL');
        await container.exit;
      }
      await using container = await run();
      await expect.poll(() => subjects(container), { timeout: 20_000 }).toEqual(['first', 'second', 'third']);
      await stop(container, 'SIGTERM');
    });

    test('the health check fails when the daemon does not answer', async () => {
      await using container = await run();
      await until(container, 'daemon.ready');
      container.signal('SIGSTOP');
      const { code, stdout } = await container.exec(healthCheck());
      container.signal('SIGCONT');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '/livez: no answer within 3 s\n' });
      expect(await container.exec(healthCheck())).toMatchObject({ code: 0 });
    });

    test('a volume that belongs to another user is one line with the remedy', async () => {
      await chown(volume, 0, 0);
      await using container = await run(['check']);
      const { code, stdout, stderr } = await container.exit;
      await chown(volume, owner, owner);
      expect({ code, text: `${stdout}${stderr}` }).toMatchObject({ code: 1, text: expect.stringContaining('hint') });
    });
  });
});

type Place = {
  readonly folder: string;
  readonly checkout: string;
  readonly results: string;
  readonly archive: string;
  readonly image: UnpackedImage;
  readonly dovecot: Dovecot;
  start(args: readonly string[], env?: Readonly<Record<string, string>>): ReturnType<typeof spawn>;
  /** Runs the package command; throws with what it printed when it fails. */
  make(args: readonly string[], env?: Readonly<Record<string, string>>, umask?: string): Promise<void>;
  database(kind: 'sqlite' | 'mariadb'): Promise<{ env: Record<string, string>; files: Record<string, string> }>;
} & AsyncDisposable;

async function openPlace(): Promise<Place> {
  await using building = new AsyncDisposableStack();
  const { path: folder } = building.use(await temporaryFolder('image'));
  const checkout = join(folder, 'checkout');
  await copyCheckout(checkout);
  await symlink(modules, join(checkout, 'node_modules'));
  await plantSecrets(checkout);
  const packager = join(checkout, 'systemd/packaging/package.ts');
  const start: Place['start'] = (args, env = {}) => {
    const environment = { ...process.env, SOURCE_DATE_EPOCH: '1790000000', TICKETMAILD_SECRET: secret, ...env };
    const child = spawn(process.execPath, [packager, ...args], { env: environment, detached: true });
    endWithUs(child);
    return child;
  };
  const make: Place['make'] = async (args, env = {}, umask = '022') => {
    const variables = { SOURCE_DATE_EPOCH: '1790000000', TICKETMAILD_SECRET: secret, ...env };
    const assigned = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    const line = 'umask "$0" && exec env "$@"';
    await runProgram('sh', ['-c', line, umask, ...assigned, process.execPath, packager, ...args]);
  };
  await make(['image']);
  const results = join(checkout, 'dist');
  const name = (await readdir(results)).find((one) => one.endsWith('.oci.tar')) ?? 'none';
  const archive = join(results, name);
  const image = await unpackImage(archive, join(folder, 'image'));
  const dovecot = building.use(await startDovecot());
  const mariadb = building.use(await startMariadb());
  const undo = building.move();
  return {
    ...{ folder, checkout, results, archive, image, dovecot, start, make },
    database: async (kind) => (kind === 'sqlite' ? { env: {}, files: {} } : await socketDatabase(mariadb, folder)),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** The unix socket and a secret file, at the places of compose.yaml. */
async function socketDatabase(mariadb: Mariadb, folder: string) {
  const { name } = await mariadb.createDatabase();
  const passwordFile = join(folder, 'database-password');
  await writeFile(passwordFile, 'app\n', { mode: 0o400 });
  await chown(passwordFile, owner, owner);
  const [socket, inside] = ['/run/mysqld/mysqld.sock', '/run/secrets/database-password'];
  return {
    env: {
      TICKETMAILD_DATABASE_URL: `mysql://app@localhost/${name}?socket=${socket}`,
      TICKETMAILD_DATABASE_PASSWORD_FILE: inside,
    },
    files: { [mariadb.socketPath]: socket, [passwordFile]: inside },
  };
}

/** Files that a checkout of a developer may contain. */
async function plantSecrets(checkout: string): Promise<void> {
  await mkdir(join(checkout, 'data'));
  for (const path of ['data/encryption-key.bin', 'data/ticketmaild.db', '.env']) {
    await writeFile(join(checkout, path), secret);
  }
}

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}
