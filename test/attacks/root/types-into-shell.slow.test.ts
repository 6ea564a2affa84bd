/**
 * A command that an attacker took over, after root became another user, types into the shell of root (TIOCSTI): the
 * kernel refuses, since the process gave up the terminal of its caller, and what the installer runs never had it, nor
 * any other descriptor of the shell of root.
 */
import { spawnSync } from 'node:child_process';
import { chmod, chown, mkdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { launcher } from '../../support/processes/launcher.ts';
import { copyCheckout } from '../../support/systemd/checkout.ts';
import { bootSystemd, whyNoSystemd } from '../../support/systemd/systemd.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const service = 41_001;
const isRoot = process.getuid?.() === 0;

/** Types a line, a letter each call, and notes which terminal controls the process, and how many calls succeeded. */
const takenOver = `import fs from 'node:fs';
  const out = fs.openSync(process.env.TICKETMAILD_TEST_OUT, 'w');
  delete process.env.TICKETMAILD_TEST_OUT;
  setTimeout(() => {
    const { functions: { ioctl } } = process.getBuiltinModule('node:ffi')
      .dlopen(null, { ioctl: { arguments: ['int32', 'uint64', 'buffer'], return: 'int32' } });
    const typed = [...Buffer.from('id\\n')].filter((byte) => ioctl(0, 0x5412n, Buffer.from([byte])) === 0).length;
    const [, , , , terminal] = fs.readFileSync('/proc/self/stat', 'latin1').replace(/^.*\\) /, '').split(' ');
    fs.writeSync(out, JSON.stringify({ uid: process.getuid(), terminal, typed }));
    process.exit(0);
  }, 2500);`;

test.skipIf(!isRoot)('nothing is typed into the terminal of root', async () => {
  await using folder = await temporaryFolder('terminal');
  await chmod(folder.path, 0o755);
  const dataDir = join(folder.path, 'data');
  await mkdir(dataDir, { mode: 0o700 });
  await chown(dataDir, service, service);
  const out = join(folder.path, 'out');
  const env = {
    PATH: process.env.PATH,
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_HTTP_LISTEN: 'off',
    TICKETMAILD_ADMIN_LISTEN: 'off',
    TICKETMAILD_TEST_OUT: out,
  };
  const injected = `data:text/javascript,${encodeURIComponent(takenOver)}`;
  // Two commands: the shell stays, as the one of a person does.
  const line = `'${process.execPath}' --import '${injected.replaceAll("'", '%27')}' '${launcher}' run; true`;
  spawnSync('script', ['-qec', line, '/dev/null'], { env, cwd: folder.path, timeout: 20_000 });
  expect(JSON.parse(await readFile(out, 'utf8'))).toEqual({ uid: service, terminal: '0', typed: 0 });
});

/** In place of the program: types into each standard stream, says what it reached, and fails. */
const stub = `
  const { functions: { ioctl } } = process.getBuiltinModule('node:ffi')
    .dlopen(null, { ioctl: { arguments: ['int32', 'uint64', 'buffer'], return: 'int32' } });
  const fs = require('node:fs');
  const typed = [0, 1, 2].filter((stream) => ioctl(stream, 0x5412n, Buffer.from('#')) === 0);
  const terminals = [0, 1, 2].filter((stream) => require('node:tty').isatty(stream));
  const [, , , , terminal] = fs.readFileSync('/proc/self/stat', 'latin1').replace(/^.*\\) /, '').split(' ');
  let opens = true;
  try { fs.openSync('/dev/tty', 'r'); } catch { opens = false; }
  const target = (fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } };
  const inherited = fs.readdirSync('/proc/self/fd').map(target).filter((path) => /lock$|secret$/.test(path));
  console.error('reached ' + JSON.stringify({ isRoot: process.getuid() === 0, terminal, opens, typed, terminals,
    inherited, folder: process.cwd() }));
  process.exit(1);`;

const why = await whyNoSystemd();
const title = `nothing is typed during an installation${why === null ? '' : ` (left out: ${why})`}`;

test.skipIf(why !== null)(title, async () => {
  await using folder = await temporaryFolder('installer');
  await chmod(folder.path, 0o755);
  const [checkout, packages] = [join(folder.path, 'checkout'), join(folder.path, 'packages')];
  await copyCheckout(checkout);
  await mkdir(join(packages, '.bin'), { recursive: true });
  await writeFile(join(packages, 'stub.cjs'), stub);
  const start = `#!/bin/sh\nexec /srv/node/node --no-warnings /srv/packages/stub.cjs\n`;
  await writeFile(join(packages, '.bin', 'node'), start, { mode: 0o755 });
  // The machine has a /tmp of its own, where this checkout may be.
  const node = dirname(await realpath(process.execPath));
  const binds = { [checkout]: '/srv/checkout', [packages]: '/srv/packages', [node]: '/srv/node' };
  await using machine = await bootSystemd(binds);
  const line = '/srv/checkout/systemd/install --packages /srv/packages; true';
  const opened = `exec 7<>/root/a.secret; bash -c "exec 200<>/root/b.secret; ${line}"`;
  const printed = await machine.get(`cd /root && script -qec '${opened}' /dev/null`);
  expect(printed).toContain('the program does not start on this machine, see above: nothing was changed');
  expect(JSON.parse(/reached (.*)/.exec(printed)?.[1] ?? printed)).toEqual({
    ...{ isRoot: false, terminal: '0', opens: false, typed: [], terminals: [] },
    ...{ inherited: [], folder: '/' },
  });
  expect(await machine.run('ls /usr/local/lib/ticketmaild')).toMatchObject({ stdout: '' });
});
