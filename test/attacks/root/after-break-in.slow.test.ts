/**
 * After a break-in: the service passed the listening sockets of systemd on, postpones its own end, and brought programs
 * along. An upgrade ends it in time, and fails while another process holds a port; no foreign program runs in the unit.
 *
 * A program of the attacker takes the place of the daemon in the real unit. The tests follow one another.
 */
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findProgram, freePort } from '../../support/servers/programs.ts';
import { copyCheckout, copyPackages, dropIn, npmStandIn, socketAddress } from '../../support/systemd/checkout.ts';
import { bootSystemd, type Machine, whyNoSystemd } from '../../support/systemd/systemd.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const install = '/srv/checkout/systemd/install';
const node = '/usr/local/lib/ticketmaild/current/node_modules/.bin/node';
const sockets = ['ticketmaild-health.socket', 'ticketmaild-page.socket'];

/** `pass`: sends the sockets away; `shutdown`: ends them; `extend`: never stops; `run`: foreign programs. */
const evil = String.raw`
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
const ffi = process.getBuiltinModule('node:ffi');
const { functions: c } = ffi.dlopen(null, {
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  connect: { arguments: ['int32', 'buffer', 'uint32'], return: 'int32' },
  sendto: { arguments: ['int32', 'buffer', 'uint64', 'int32', 'buffer', 'uint32'], return: 'int64' },
  sendmsg: { arguments: ['int32', 'buffer', 'int32'], return: 'int64' },
  shutdown: { arguments: ['int32', 'int32'], return: 'int32' },
  memfd_create: { arguments: ['buffer', 'uint32'], return: 'int32' },
});
const mode = process.argv[2];
const address = (name) => Buffer.concat([Buffer.from([1, 0]), Buffer.from(name, 'latin1')]);
const toManager = address(process.env.NOTIFY_SOCKET.replace(/^@/, '\0'));
const notify = (text) => {
  const words = Buffer.from(text);
  c.sendto(c.socket(1, 2, 0), words, BigInt(words.length), 0, toManager, toManager.length);
};
const count = Number(process.env.LISTEN_FDS ?? 0);
if (mode === 'pass') {
  const [to, accomplice] = [c.socket(1, 1, 0), address('\0ticketmaild-test-accomplice')];
  c.connect(to, accomplice, accomplice.length);
  const word = Buffer.from('x');
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(BigInt(ffi.getRawPointer(word)));
  vector.writeBigUInt64LE(1n, 8);
  const control = Buffer.alloc(16 + Math.ceil(count / 2) * 8);
  control.writeBigUInt64LE(BigInt(16 + 4 * count));
  control.writeInt32LE(1, 8);
  control.writeInt32LE(1, 12);
  for (let index = 0; index < count; index += 1) control.writeInt32LE(3 + index, 16 + 4 * index);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(BigInt(ffi.getRawPointer(vector)), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(BigInt(ffi.getRawPointer(control)), 32);
  header.writeBigUInt64LE(BigInt(16 + 4 * count), 40);
  console.log('passed', c.sendmsg(to, header, 0));
}
if (mode === 'shutdown') for (let index = 0; index < count; index += 1) c.shutdown(3 + index, 2);
if (mode === 'extend') process.on('SIGTERM', () => setInterval(() => notify('EXTEND_TIMEOUT_USEC=20000000'), 500));
if (mode === 'run') {
  const attempt = (name, task) => {
    let result;
    try { result = task(); } catch ({ code, message }) { result = code ?? message; }
    console.log('tried ' + JSON.stringify([name, result]));
  };
  const echo = (program) => execFileSync(program, ['-c', 'echo ran']).toString().trim();
  for (const folder of process.argv.slice(3)) {
    attempt(folder, () => {
      const path = folder + '/foreign';
      try { fs.copyFileSync('/bin/sh', path); } catch { return 'EACCES'; }
      try { fs.chmodSync(path, 0o755); return echo(path); } finally { fs.rmSync(path); }
    });
  }
  attempt('memory', () => {
    const memory = c.memfd_create(Buffer.from('x\0'), 0);
    if (memory < 0) return 'EACCES';
    fs.writeSync(memory, fs.readFileSync('/bin/sh'));
    return echo('/proc/' + process.pid + '/fd/' + memory);
  });
  const lines = fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n').map((line) => line.split(' '));
  // The last mount at a path hides those before.
  const mounts = [...new Map(lines.map(([, , , , path = '', options = '']) => [path, options]))];
  const writable = mounts.filter(([path, options]) => /^rw/.test(options) && !/noexec/.test(options) && !/^\/dev\//.test(path));
  console.log('tried ' + JSON.stringify(['mounts', writable.map(([path]) => path).join()]));
}
notify('READY=1');
setInterval(() => notify('WATCHDOG=1'), 1000);
`;

/** Takes what is passed on, and holds it; or binds a port (SO_REUSEADDR) as soon as it can. */
const accomplice = `
import array, socket, sys, time
if sys.argv[1] == 'take':
    l = socket.socket(socket.AF_UNIX); l.bind('\\0ticketmaild-test-accomplice'); l.listen()
    print('waits', flush=True)
    held = l.accept()[0].recvmsg(1, socket.CMSG_SPACE(64))
else:
    print('waits', flush=True)
    while True:
        held = socket.socket(); held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try: held.bind(('127.0.0.1', int(sys.argv[2]))); held.listen(); break
        except OSError: held.close(); time.sleep(0.002)
print('holds', flush=True)
time.sleep(600)
`;

const why = (await whyNoSystemd()) ?? (findProgram('python3') === null ? 'python3 is not installed' : null);
const title = `a service that was broken into${why === null ? '' : ` (left out: ${why})`}`;

describe.skipIf(why !== null)(title, { timeout: 120_000, tags: ['long'] }, () => {
  let place: Place;
  let machine: Machine;

  beforeAll(async () => {
    place = await openPlace();
    machine = place.machine;
  }, 120_000);

  afterAll(() => place?.[Symbol.asyncDispose]());

  /** Result for another user who listens at a port: an error code, or `taken`. */
  const takenBy = async (port: number, host = '127.0.0.1') => {
    const listen = `require("net").createServer().on("error", ({ code }) => console.log(code)).listen(${port}, "${host}", function () { console.log("taken"); this.close(); })`;
    return await machine.get(
      `setpriv --reuid=65534 --regid=65534 --clear-groups /srv/packages/.bin/node -e '${listen}'`,
    );
  };
  /** Starts the accomplice, and returns how to end it. */
  const conspire = async (...args: readonly string[]) => {
    const as = 'setpriv --reuid=65534 --regid=65534 --clear-groups';
    const start = `setsid ${as} python3 /etc/accomplice.py ${args.join(' ')}`;
    await machine.get(`${start} >/tmp/accomplice 2>&1 </dev/null & echo $! >/root/accomplice`);
    await machine.until('grep -q waits /tmp/accomplice');
    return {
      holds: () => machine.until('grep -q holds /tmp/accomplice'),
      end: () => machine.get('kill -9 $(cat /root/accomplice); sleep 0.2'),
    };
  };
  const breakIn = (...args: readonly string[]) =>
    machine.get(
      `${dropIn('evil', `ExecStart=\nExecStart=${node} --disable-warning=ExperimentalWarning /etc/evil.mjs ${args.join(' ')}`)} && systemctl restart ticketmaild`,
    );
  const endBreakIn = () =>
    machine.get('rm -f /etc/systemd/system/ticketmaild.service.d/evil.conf && systemctl daemon-reload');
  /** Versions of one second would have one name. */
  const upgrade = async () => {
    await endBreakIn();
    return await machine.run(`sleep 1; ${install}`);
  };
  const status = (path: string, port: number) =>
    machine.get(`curl -s -m 20 -o /dev/null -w '%{http_code}' http://127.0.0.1:${port}${path}`);

  test('a first installation does not claim sockets that another user holds', async () => {
    const held = await conspire('bind', String(place.page));
    await held.holds();
    const { code, stdout, stderr } = await machine.run(install);
    await held.end();
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('ticketmaild-page.socket does not start'),
    });
    expect(stderr).toContain(`ss -ltnp`);
    expect(stdout).not.toContain('and its sockets');
    expect(await machine.get('systemctl is-active ticketmaild')).toBe('active');
    expect(await upgrade()).toMatchObject({ code: 0, stderr: '' });
    expect(await machine.get(`systemctl is-active ${sockets.join(' ')}`)).toBe('active\nactive');
  });

  test('an upgrade has the sockets listen where the new units say', async () => {
    const only = `printf '%s\\n' '[Socket]' 'ListenStream=' 'ListenStream=127.0.0.1:${place.page}'`;
    const file = '/etc/systemd/system/ticketmaild-page.socket.d/address.conf';
    await machine.get(`${only} >${file} && systemctl daemon-reload`);
    await machine.get(
      `systemctl stop ${sockets.join(' ')} ticketmaild && systemctl start ${sockets.join(' ')} ticketmaild`,
    );
    await machine.get(socketAddress('ticketmaild-page', `127.0.0.1:${place.page}`));
    expect(await upgrade()).toMatchObject({ code: 0, stderr: '' });
    await machine.get('systemctl stop ticketmaild 2>/dev/null');
    expect([await takenBy(place.page), await takenBy(place.page, '::1')]).toEqual(['EADDRINUSE', 'EADDRINUSE']);
    await machine.get('systemctl start ticketmaild');
  });

  test('an upgrade from a version without socket units enables and starts them', async () => {
    await machine.get(`systemctl disable --now ${sockets.join(' ')} 2>/dev/null`);
    await machine.get('rm /usr/local/lib/systemd/system/ticketmaild-*.socket && systemctl daemon-reload');
    await machine.get('systemctl restart ticketmaild');
    expect(await upgrade()).toMatchObject({ code: 0, stderr: '' });
    const states = `systemctl is-enabled ${sockets.join(' ')}; systemctl is-active ${sockets.join(' ')}`;
    expect(await machine.get(states)).toBe('enabled\nenabled\nactive\nactive');
    expect(await machine.get('journalctl -u ticketmaild -o cat')).not.toContain('systemd.socket_unused');
  });

  test('sockets that were disabled on purpose stay so', async () => {
    await machine.get(`systemctl disable --now ${sockets.join(' ')} 2>/dev/null; systemctl restart ticketmaild`);
    expect(await upgrade()).toMatchObject({ code: 0, stderr: '' });
    const states = await machine.run(
      `systemctl is-enabled ${sockets.join(' ')}; systemctl is-active ${sockets.join(' ')}`,
    );
    expect(states.stdout).toBe('disabled\ndisabled\ninactive\ninactive\n');
    await machine.get('systemctl stop ticketmaild');
    await machine.get(`systemctl --quiet enable --now ${sockets.join(' ')} && systemctl start ticketmaild`);
  });

  test.each(['pass', 'shutdown'])(
    'an upgrade fails while an accomplice holds its port (%s), and says whom to look for',
    async (mode) => {
      const held = await conspire(...(mode === 'pass' ? ['take'] : ['bind', String(place.page)]));
      await breakIn(mode);
      await held.holds();
      const { code, stdout, stderr } = await upgrade();
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringContaining('ticketmaild-page.socket does not start'),
      });
      expect(stderr).toContain('ss -ltnp');
      expect(stdout).not.toContain('and its sockets');
      expect(await machine.get('systemctl is-active ticketmaild')).toBe('active');
      await held.end();
      expect(await upgrade()).toMatchObject({ code: 0, stderr: '' });
      expect(await status('/admin/sign-in', place.page)).toBe('200');
      expect(await machine.get(`systemctl is-active ${sockets.join(' ')}`)).toBe('active\nactive');
    },
  );

  test('runs no foreign program: from its data, a folder for temporary files, or memory', async () => {
    const folders = ['/var/lib/ticketmaild', '/tmp', '/var/tmp', '/run', '/run/lock', '/dev/mqueue', '/srv/mail'];
    await machine.get(
      'install -d -o ticketmaild -g ticketmaild -m 700 /srv/mail && chmod 1777 /run/lock 2>/dev/null || true',
    );
    await machine.get(dropIn('data', 'ReadWritePaths=/srv/mail\nNoExecPaths=/srv/mail'));
    await breakIn('run', ...folders);
    const tried = (await machine.get("journalctl -u ticketmaild -o cat | grep '^tried '"))
      .split('\n')
      .map((line) => JSON.parse(line.slice('tried '.length)));
    expect(tried).toEqual([...[...folders, 'memory'].map((name) => [name, 'EACCES']), ['mounts', '']]);
    expect(await upgrade()).toMatchObject({ code: 0, stderr: '' });
    await machine.until('ticketmaild status >/dev/null; [ $? -le 1 ]');
    expect(await status('/livez', place.health)).toBe('200');
  });

  test.each(['install', 'uninstall'])('that postpones its end is killed by systemd/%s', async (script) => {
    await machine.get(dropIn('soon', 'TimeoutStopSec=2s'));
    await breakIn('extend');
    await endBreakIn();
    const startMs = performance.now();
    const ended = await machine.run(`sleep 1; timeout 60 /srv/checkout/systemd/${script}`);
    expect(ended).toMatchObject({ code: 0 });
    expect(performance.now() - startMs).toBeLessThan(50_000);
    expect((await machine.run("pgrep -f '/etc/evil[.]mjs'")).stdout).toBe('');
  });
});

type Place = {
  readonly machine: Machine;
  /** Ports of the health endpoints and of the page. */
  readonly health: number;
  readonly page: number;
} & AsyncDisposable;

async function openPlace(): Promise<Place> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('break-in'));
  await chmod(folder.path, 0o755);
  const [checkout, packages] = [join(folder.path, 'checkout'), join(folder.path, 'packages')];
  await Promise.all([copyCheckout(checkout), copyPackages(packages)]);
  const machine = building.use(await bootSystemd({ [checkout]: '/srv/checkout', [packages]: '/srv/packages' }));
  const [health, page] = [await freePort(), await freePort()];
  await machine.get(npmStandIn);
  await machine.run('cat >/etc/evil.mjs', { input: evil });
  await machine.run('cat >/etc/accomplice.py', { input: accomplice });
  const settings = [`HTTP_LISTEN=127.0.0.1:${health}`, `ADMIN_LISTEN=127.0.0.1:${page}`];
  await machine.get(dropIn('addresses', settings.map((one) => `Environment=TICKETMAILD_${one}`).join('\n')));
  await machine.get(socketAddress('ticketmaild-health', `127.0.0.1:${health}`));
  await machine.get(socketAddress('ticketmaild-page', `127.0.0.1:${page}`));
  const undo = building.move();
  return { machine, health, page, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}
