/**
 * The service when something goes wrong: a first installation or an upgrade that fails or is interrupted, a lock that
 * others could hold, packages by way of a link, a credential that cannot be decrypted, a data folder elsewhere.
 *
 * A script in front of systemctl makes a step of it fail, or sends the installer a signal. The tests follow one
 * another.
 */
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../support/servers/programs.ts';
import { copyCheckout, copyPackages, dropIn, npmStandIn, socketAddress } from '../support/systemd/checkout.ts';
import { bootSystemd, type Machine, whyNoSystemd } from '../support/systemd/systemd.ts';
import { temporaryFolder } from '../support/temporary.ts';

const install = '/srv/checkout/systemd/install';
const home = '/usr/local/lib/ticketmaild';
const configuration = '/etc/ticketmaild/ticketmaild.toml';

const why = await whyNoSystemd();
const title = `the service when something goes wrong${why === null ? '' : ` (left out: ${why})`}`;

describe.skipIf(why !== null)(title, { timeout: 60_000, tags: ['long'] }, () => {
  let place: Place;
  let machine: Machine;

  beforeAll(async () => {
    place = await openPlace();
    machine = place.machine;
  }, 120_000);

  afterAll(() => place?.[Symbol.asyncDispose]());

  const current = () => machine.get(`readlink -e ${home}/current`);
  const versions = async () =>
    (await machine.run(`ls -d ${home}/*-*`)).stdout.split('\n').filter((line) => line !== '');
  const show = (property: string) => machine.get(`systemctl show ticketmaild --property=${property} --value`);
  /** The program of the process that systemd has started. */
  const running = async () => machine.get(`readlink /proc/${await show('MainPID')}/exe`);
  /** Installs while a script has a hand in each `systemctl STEP`. */
  const installWith = async (step: string, hand: string) => {
    await machine.run('cat >/root/hand', { input: `case " $* " in *" ${step} "*) ${hand} ;; esac` });
    const result = await machine.run(install);
    await machine.get('rm /root/hand');
    return result;
  };

  test.each([
    ['whose packages cannot be fetched', 'none', 'true', 'touch /root/npm-fails'],
    ['that systemd does not take note of', 'daemon-reload', 'exit 1', 'true'],
    ['that is interrupted', 'daemon-reload', 'kill -INT $PPID', 'true'],
    ['that cannot be enabled', 'enable', 'exit 1', 'true'],
  ])('a first installation %s leaves no version', async (_what, step, hand, before) => {
    await machine.get(before);
    expect(await installWith(step, hand)).toMatchObject({ code: 1 });
    await machine.get('rm -f /root/npm-fails');
    const made = `${home}/* /usr/local/bin/ticketmaild /usr/local/lib/systemd/system/ticketmaild*`;
    expect((await machine.run(`ls -d ${made}`)).stdout).toBe('');
    expect(await machine.run('systemctl is-enabled ticketmaild')).not.toMatchObject({ code: 0 });
  });

  test('the installation after one that failed enables and starts the service', async () => {
    const { code, stdout, stderr } = await machine.run(install);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('enabled and started ticketmaild.service and its sockets');
    expect(await machine.get('systemctl is-enabled ticketmaild; systemctl is-active ticketmaild')).toBe(
      'enabled\nactive',
    );
  });

  test('only root can lock it, and no other user can make it write a file', async () => {
    await machine.get('echo precious >/root/precious && ln -sf /root/precious /run/lock/ticketmaild-install');
    await machine.get(`${install} --no-start`);
    expect(await machine.get('cat /root/precious')).toBe('precious');
    const lock = '/run/ticketmaild-install.lock';
    const stranger = await machine.run(`setpriv --reuid=65534 --clear-groups flock --nonblock ${lock} true`);
    expect(stranger.stderr).toContain('Permission denied');
    expect(await machine.run(`flock ${lock} ${install}`)).toEqual({
      ...{ code: 1, stdout: '' },
      stderr: 'install: another installation is running\n',
    });
  });

  test.each(['INT', 'TERM'])('an upgrade that gets SIG%s while it restarts is rolled back', async (signal) => {
    const [old, kept] = [await current(), await versions()];
    const { code, stderr } = await installWith('restart', `rm /root/hand; touch /root/hand; kill -${signal} $PPID`);
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'install: the previous version is active again\n' });
    expect([await current(), await versions(), await show('ActiveState')]).toEqual([old, kept, 'active']);
    expect(await running()).toMatch(new RegExp(`^${old}/`));
  });

  test('an upgrade whose terminal is lost while it restarts is completed', async () => {
    const old = await current();
    expect(await installWith('restart', 'kill -HUP $PPID; kill -PIPE $PPID')).toMatchObject({ code: 0, stderr: '' });
    expect(await current()).not.toBe(old);
    expect(await running()).toMatch(new RegExp(`^${await current()}/`));
  });

  test('an upgrade whose daemon-reload fails is rolled back, and the service keeps running', async () => {
    const [old, kept, pid] = [await current(), await versions(), await show('MainPID')];
    const { code, stderr } = await installWith('daemon-reload', 'exit 1');
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'install: the previous version is active again\n' });
    expect([await current(), await versions(), await show('MainPID')]).toEqual([old, kept, pid]);
  });

  test('a version that cannot be rolled back stays whole', async () => {
    const old = await current();
    const { code } = await installWith('restart', `mkdir -p ${home}/next/x; exit 1`);
    expect({ code, current: await current() }).toMatchObject({ code: 1, current: expect.not.stringContaining(old) });
    await machine.get(`rm -rf ${home}/next && ticketmaild --version && sleep 1 && ${install}`);
    expect(await running()).toMatch(new RegExp(`^${await current()}/`));
  });

  /** Programs of the installer, in the order of its steps: the call that gets `kill -9` instead. */
  const cuts: readonly (readonly [program: string, words: string])[] = [
    ['cp', 'node_modules'],
    ['chown', 'root:root'],
    ['sync', '--file-system'],
    ['mv', '-T /usr/local/lib/ticketmaild/.unfinished'],
    ['install', '-m 644'],
    ['ln', '/usr/local/bin/ticketmaild'],
    ['systemctl', 'daemon-reload'],
    ['systemctl', 'stop'],
    ['systemctl', 'restart'],
  ];

  /** An installation whose process ends at that call, as by a power cut, and whatever it started with it. */
  const cutAt = async ([program, words]: readonly [string, string]) => {
    const wrapper = `case " $* " in *" ${words}"*) kill -KILL $(cat /root/installer); exit 1 ;; esac`;
    const path = `/root/cuts/${program}`;
    await machine.get('rm -rf /root/cuts && mkdir /root/cuts');
    await machine.get(
      `printf '%s\\n' '#!/bin/sh' '${wrapper}' 'PATH=/usr/local/sbin:/usr/bin:/usr/sbin exec ${program} "$@"' >${path}`,
    );
    await machine.get(`chmod 755 ${path}`);
    const { code } = await machine.run(`sh -c 'echo $$ >/root/installer; PATH=/root/cuts:$PATH exec ${install}'`);
    await machine.get('rm -rf /root/cuts');
    return code;
  };

  const whole = async (folder: string) =>
    await machine.get(
      `${folder}/node_modules/.bin/node ${folder}/src/ticketmaild.js --version && ls ${folder}/share/man/man8`,
    );

  test.each(cuts)(
    'an upgrade that a power cut ends at %s %s leaves whole versions, and the next one completes it',
    async (...cut) => {
      const good = await current();
      expect(await cutAt(cut)).not.toBe(0);
      for (const folder of await versions()) await whole(folder);
      expect(await machine.run(install)).toMatchObject({ code: 0 });
      expect(await versions()).toEqual([good, await current()]);
      expect(await running()).toMatch(new RegExp(`^${await current()}/`));
      expect(
        await machine.get(`ls -A ${home} | grep unfinished || true; ls /run/ticketmaild-ran 2>/dev/null || true`),
      ).toBe('');
    },
  );

  test('a version that was cut off before it was ready is not the one to go back to', async () => {
    const good = await current();
    await cutAt(['systemctl', 'restart']);
    const cut = await current();
    expect(cut).not.toBe(good);
    const { code, stderr } = await installWith('restart', 'exit 1');
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('install: the previous version is active again\n'),
    });
    expect([await current(), await show('ActiveState')]).toEqual([good, 'active']);
    expect(await running()).toMatch(new RegExp(`^${good}/`));
  });

  test.each(['/root/link', '/root/there/packages'])('packages at %s, behind a link, are copied', async (folder) => {
    await machine.get('ln -sfn /srv/packages /root/link && ln -sfn /srv /root/there');
    await machine.get(`sleep 1; ${install} --no-start --packages ${folder}`);
    const modules = `${await current()}/node_modules`;
    expect(await machine.get(`readlink -e ${modules}`)).toBe(modules);
  });

  test('a credential that cannot be decrypted is reported and ignored', async () => {
    const store = '/etc/credstore.encrypted';
    const encrypt = `systemd-creds encrypt --name=ticketmaild-key-passphrase - ${store}/ticketmaild-key-passphrase`;
    await machine.get('ticketmaild encryption enable --accept-key-loss --backup-prepared');
    await machine.get(`printf Drei-Birnen-7 | ${encrypt}`);
    await machine.get('printf Drei-Birnen-7 | ticketmaild key protect --passphrase-stdin');
    await machine.get(`echo nonsense >${store}/ticketmaild-database-password`);
    const { code, stderr } = await machine.run('ticketmaild key show </dev/null');
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining(`ticketmaild: ${store}/ticketmaild-database-password cannot be decrypted`),
    });
    expect(stderr).toContain('systemd/README.md, Credentials');
    const readme = await machine.get(`cat ${home}/current/systemd/README.md`);
    expect(readme).toContain('## Credentials\n');
    for (const command of ['--version', '--help', 'status', 'logs --unit ticketmaild']) {
      expect(await machine.run(`ticketmaild ${command}`)).toMatchObject({ code: 0, stderr: '' });
    }
    await machine.get(`rm ${store}/ticketmaild-database-password`);
  });

  test('messages are exported from quarantine to a new folder, given to the service, and no file of root is left in the data', async () => {
    await machine.get('systemctl stop ticketmaild && ticketmaild quarantine export --all --folder /root/held');
    expect(await machine.get("stat -c '%U %a' /root/held; find /var/lib/ticketmaild ! -user ticketmaild")).toBe(
      'ticketmaild 700',
    );
    await machine.get('systemctl start ticketmaild');
  });

  test('another data folder works with the drop-in of the operator manual', async () => {
    const readme = await readFile(fileURLToPath(new URL('../../systemd/README.md', import.meta.url)), 'utf8');
    const [, settings = '', make = ''] = /```ini\n\[Service\]\n([^`]*)\n```\n\n.*`(install -d .*)`/.exec(readme) ?? [];
    await machine.get(`${make} && sed -i 's#^data_dir.*#data_dir = "/srv/mail"#' ${configuration}`);
    await machine.get('systemctl restart ticketmaild');
    const disk = async () => {
      const answer = await fetch(`http://127.0.0.1:${place.port}/readyz`);
      return JSON.parse(await answer.text()).checks.disk;
    };
    expect(await disk()).toMatchObject({
      reason: expect.stringContaining('(EROFS)'),
      hint: expect.stringContaining(settings.replace(/=.*/s, '=')),
    });
    await machine.get(`${dropIn('data', settings)} && systemctl restart ticketmaild`);
    await expect.poll(() => show('StatusText'), { timeout: 15_000 }).toMatch(/^Ready/);
    expect(await disk()).toMatchObject({ status: 'ok' });
  });
});

type Place = {
  readonly machine: Machine;
  /** Of the health endpoints. */
  readonly port: number;
} & AsyncDisposable;

async function openPlace(): Promise<Place> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('installer'));
  await chmod(folder.path, 0o755);
  const [checkout, packages] = [join(folder.path, 'checkout'), join(folder.path, 'packages')];
  await Promise.all([copyCheckout(checkout), copyPackages(packages)]);
  const machine = building.use(await bootSystemd({ [checkout]: '/srv/checkout', [packages]: '/srv/packages' }));
  const [port, adminPort] = [await freePort(), await freePort()];
  await machine.get(npmStandIn);
  await machine.get(systemctlWithHand);
  const [http, admin] = ['HTTP', 'ADMIN'].map((name) => `Environment=TICKETMAILD_${name}_LISTEN=127.0.0.1:`);
  await machine.get(dropIn('addresses', `${http}${port}\n${admin}${adminPort}`));
  await machine.get(socketAddress('ticketmaild-health', `127.0.0.1:${port}`));
  await machine.get(socketAddress('ticketmaild-page', `127.0.0.1:${adminPort}`));
  const undo = building.move();
  return { machine, port, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

/** A wrapper around systemctl that first sources /root/hand. */
const systemctlWithHand = `
printf '%s\\n' '#!/bin/sh' '[ ! -e /root/hand ] || . /root/hand' 'exec /usr/bin/systemctl "$@"' >/usr/local/sbin/systemctl
chmod 755 /usr/local/sbin/systemctl`;
