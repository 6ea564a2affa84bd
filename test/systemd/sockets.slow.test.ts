/**
 * Ports while the daemon is away, with the socket units: another user of the machine cannot take the port of the
 * sign-in page or of the health endpoints, however the daemon ends, and visitors wait for the next start.
 *
 * The tests follow one another.
 */
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../support/servers/programs.ts';
import { copyCheckout, copyPackages, dropIn, npmStandIn, socketAddress } from '../support/systemd/checkout.ts';
import { bootSystemd, type Machine, whyNoSystemd } from '../support/systemd/systemd.ts';
import { temporaryFolder } from '../support/temporary.ts';

const why = await whyNoSystemd();
const title = `the ports of an absent daemon${why === null ? '' : ` (left out: ${why})`}`;
const units = ['ticketmaild-health.socket', 'ticketmaild-page.socket'];

describe.skipIf(why !== null)(title, { timeout: 60_000 }, () => {
  let place: Place;
  let machine: Machine;

  beforeAll(async () => {
    place = await openPlace();
    machine = place.machine;
  }, 120_000);

  afterAll(() => place?.[Symbol.asyncDispose]());

  const show = (property: string) => machine.get(`systemctl show ticketmaild --property=${property} --value`);
  /** Result for another user who listens at a port: an error code, or `taken`. */
  const takenBy = async (port: number, host = '127.0.0.1') => {
    const listen = `require("net").createServer().on("error", ({ code }) => console.log(code)).listen(${port}, "${host}", function () { console.log("taken"); this.close(); })`;
    return await machine.get(
      `setpriv --reuid=65534 --regid=65534 --clear-groups /srv/packages/.bin/node -e '${listen}'`,
    );
  };
  /** With the addresses of the unit, which stand in its environment. */
  const checkHere = () =>
    `TICKETMAILD_HTTP_LISTEN=127.0.0.1:${place.health} TICKETMAILD_ADMIN_LISTEN=127.0.0.1:${place.page} ticketmaild check`;
  const status = (port: number, path: string) =>
    machine.get(`curl -s -m 20 -o /dev/null -w '%{http_code}' http://127.0.0.1:${port}${path}`);

  test('are held by systemd after an installation, and served by the daemon', async () => {
    expect(await machine.run('/srv/checkout/systemd/install')).toMatchObject({ code: 0, stderr: '' });
    expect(await machine.get(`systemctl is-enabled ${units.join(' ')}; systemctl is-active ${units.join(' ')}`)).toBe(
      'enabled\nenabled\nactive\nactive',
    );
    expect(await status(place.health, '/livez')).toBe('200');
    expect(await status(place.page, '/admin/sign-in')).toBe('200');
    expect(await machine.get('journalctl -u ticketmaild -o cat')).not.toContain('systemd.socket_unused');
    expect(await machine.get('ticketmaild status || true')).toMatch(/^(NOT )?READY/);
    expect((await machine.run(checkHere())).stdout).toMatch(
      new RegExp(`^ok {6}admin page: the daemon \\(pid \\d+\\) listens at 127\\.0\\.0\\.1:${place.page}$`, 'm'),
    );
  });

  test('are held at both addresses of localhost, and served there', async () => {
    for (const port of [place.health, place.page]) {
      const [main, other] = [await takenBy(port), await takenBy(port, '::1')];
      expect([main, other]).toEqual(['EADDRINUSE', 'EADDRINUSE']);
    }
    expect(await machine.get(`curl -s -m 10 'http://[::1]:${place.health}/livez'`)).toContain('ok');
    expect(await machine.get('journalctl -u ticketmaild -o cat')).not.toContain('listen.localhost_taken');
  });

  test('cannot be taken after kill -9, and a visitor meanwhile is answered by the next start', async () => {
    const pid = await show('MainPID');
    await machine.get('systemctl kill --signal=KILL ticketmaild');
    expect(await Promise.all([place.health, place.page].map((port) => takenBy(port)))).toEqual([
      'EADDRINUSE',
      'EADDRINUSE',
    ]);
    expect(await status(place.page, '/admin/sign-in')).toBe('200');
    expect(await show('MainPID')).not.toBe(pid);
  });

  test('cannot be taken while it is stopped, until the next probe starts it', async () => {
    await machine.get('systemctl stop ticketmaild 2>/dev/null');
    expect(await machine.run('ticketmaild status')).toMatchObject({ code: 1, stdout: '' });
    expect((await machine.run(checkHere())).stdout).toContain(
      `ok      admin page: the daemon does not run; systemd holds 127.0.0.1:${place.page} for it\n`,
    );
    const others = [place.health, place.page].flatMap((port) => [takenBy(port), takenBy(port, '::1')]);
    expect(new Set(await Promise.all(others))).toEqual(new Set(['EADDRINUSE']));
    expect(await status(place.health, '/livez')).toBe('200');
    await machine.until('systemctl is-active ticketmaild');
  });

  test('are opened again by an upgrade: it fails when another user was faster, and succeeds otherwise', async () => {
    const [result, ...taken] = await Promise.all([
      machine.run('/srv/checkout/systemd/install'),
      ...Array.from({ length: 8 }, async (_, index) => {
        await new Promise((resolve) => setTimeout(resolve, index * 400));
        return await takenBy(place.page);
      }),
    ]);
    const isTaken = result.code === 1 && taken.includes('taken');
    if (isTaken) expect(result.stderr).toContain('ticketmaild-page.socket does not start');
    else expect(result).toMatchObject({ code: 0, stderr: '' });
    if (isTaken) await machine.get('sleep 1; /srv/checkout/systemd/install');
    expect([await takenBy(place.page), await takenBy(place.page, '::1')]).toEqual(['EADDRINUSE', 'EADDRINUSE']);
    expect(await machine.get(`systemctl is-active ${units.join(' ')}`)).toBe('active\nactive');
  });

  test('are refused to a visitor where it cannot start, without a loop of starts', async () => {
    await machine.get(`${dropIn('broken', 'Environment=TICKETMAILD_LOG_LEVEL=loud')}`);
    await machine.run('systemctl restart ticketmaild');
    expect(await machine.run(`curl -s -m 10 http://127.0.0.1:${place.health}/livez`)).toMatchObject({ stdout: '' });
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const failures = await machine.get(
      "journalctl -u ticketmaild -o cat --since -20s | grep -c 'daemon.failed' || true",
    );
    expect(Number(failures)).toBeLessThanOrEqual(3);
    expect(await takenBy(place.health)).toBe('EADDRINUSE');
    await machine.get('rm /etc/systemd/system/ticketmaild.service.d/broken.conf && systemctl daemon-reload');
    expect(await status(place.health, '/livez')).toBe('200');
  });

  test('of another address than the configured one are not used: one line, and the daemon opens its own', async () => {
    const other = await freePort();
    await machine.get(`${dropIn('other', `Environment=TICKETMAILD_HTTP_LISTEN=127.0.0.1:${other}`)}`);
    await machine.get('systemctl restart ticketmaild');
    expect(await status(other, '/livez')).toBe('200');
    const unused = `it listens at 127.0.0.1:${place.health}, not at 127.0.0.1:${other}`;
    expect(await machine.get('journalctl -u ticketmaild -o cat | grep socket_unused')).toContain(unused);
    await machine.get('rm /etc/systemd/system/ticketmaild.service.d/other.conf && systemctl daemon-reload');
  });

  test('can be a unix socket for the group of a reverse proxy alone', async () => {
    const path = '/run/ticketmaild/page.sock';
    const socket = [
      'ListenStream=',
      `ListenStream=${path}`,
      'SocketGroup=www-data',
      'SocketMode=0660',
      'RemoveOnStop=yes',
    ];
    await machine.get('systemctl stop ticketmaild-page.socket ticketmaild 2>/dev/null');
    await machine.get(
      `printf '[Socket]\\n%s\\n' '${socket.join('\n')}' >/etc/systemd/system/ticketmaild-page.socket.d/address.conf`,
    );
    const page = [`LISTEN=unix:${path}`, 'ORIGIN=https://desk.example.org'].map(
      (one) => `Environment=TICKETMAILD_ADMIN_${one}`,
    );
    await machine.get(dropIn('unix', page.join('\n')));
    await machine.get('systemctl start ticketmaild-page.socket ticketmaild');
    expect(await machine.get(`stat -c '%a %U %G' ${path}`)).toBe('660 root www-data');
    const headers = "-H 'Host: desk.example.org' -H 'X-Forwarded-For: 192.0.2.7'";
    const ask = `curl -s -m 10 -o /dev/null -w '%{http_code}' ${headers} --unix-socket ${path} http://x/admin/sign-in`;
    const as = (user: string, group: string) =>
      machine.run(`setpriv --reuid=${user} --regid=${group} --clear-groups ${ask}`);
    expect(await as('www-data', 'www-data')).toMatchObject({ code: 0, stdout: '200' });
    expect(await as('nobody', 'nogroup')).toMatchObject({ stdout: '000' });
  });

  test('are silent in systemd-analyze verify, and the templates are equal to them but for name and address', async () => {
    for (const unit of [...units, 'ticketmaild-health@1.socket', 'ticketmaild-page@1.socket'])
      expect(await machine.run(`systemd-analyze verify ${unit}`)).toEqual({ code: 0, stdout: '', stderr: '' });
    for (const kind of ['health', 'page']) {
      const folder = '/usr/local/lib/systemd/system';
      const settings = `grep -E '^(FileDescriptorName|Backlog|FlushPending|TriggerLimit|WantedBy)'`;
      const read = (unit: string) => machine.get(`${settings} ${folder}/${unit}`);
      expect(await read(`ticketmaild-${kind}@.socket`)).toBe(await read(`ticketmaild-${kind}.socket`));
    }
  });

  test('of one of several workers are held and served in the same way', async () => {
    const port = await freePort();
    await machine.get(`systemctl stop ${units.join(' ')} ticketmaild`);
    await machine.get(socketAddress('ticketmaild-health@1', `127.0.0.1:${port}`));
    await machine.get(dropIn('address', `Environment=TICKETMAILD_HTTP_LISTEN=127.0.0.1:${port}`, 'ticketmaild@1'));
    await machine.get('systemctl start ticketmaild-health@1.socket');
    expect(await takenBy(port)).toBe('EADDRINUSE');
    expect(await status(port, '/livez')).toBe('200');
    expect(await machine.get('journalctl -u ticketmaild@1 -o cat')).not.toContain('systemd.socket_unused');
  });

  test('are free after systemd/uninstall', async () => {
    expect(await machine.run('/usr/local/lib/ticketmaild/current/systemd/uninstall')).toMatchObject({
      code: 0,
      stderr: '',
    });
    expect(await machine.run("systemctl list-units --all --plain --no-legend 'ticketmaild*'")).toMatchObject({
      stdout: '',
    });
    expect(
      (await machine.run('ls -d /usr/local/lib/systemd/system/ticketmaild* /etc/systemd/system/*.wants/ticketmaild*'))
        .stdout,
    ).toBe('');
    expect(await takenBy(place.health)).toBe('taken');
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
  const folder = building.use(await temporaryFolder('sockets'));
  await chmod(folder.path, 0o755);
  const [checkout, packages] = [join(folder.path, 'checkout'), join(folder.path, 'packages')];
  await Promise.all([copyCheckout(checkout), copyPackages(packages)]);
  const machine = building.use(await bootSystemd({ [checkout]: '/srv/checkout', [packages]: '/srv/packages' }));
  const [health, page] = [await freePort(), await freePort()];
  await machine.get(npmStandIn);
  const settings = [`HTTP_LISTEN=127.0.0.1:${health}`, `ADMIN_LISTEN=127.0.0.1:${page}`];
  await machine.get(dropIn('addresses', settings.map((one) => `Environment=TICKETMAILD_${one}`).join('\n')));
  await machine.get(socketAddress('ticketmaild-health', `127.0.0.1:${health}`));
  await machine.get(socketAddress('ticketmaild-page', `127.0.0.1:${page}`));
  const undo = building.move();
  return { machine, health, page, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}
