/**
 * The Debian package under dpkg and a real systemd: installed, in use, upgraded, broken, interrupted, removed, purged,
 * and in place of an installation from a checkout. Left out, and said so, where that systemd cannot be booted.
 *
 * The tests follow one another on one machine. The packages are not compressed, which takes long and changes nothing.
 */
import { execFileSync } from 'node:child_process';
import { chmod, cp, mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layOutDebianPackage } from '../../systemd/packaging/debian/debian-package.ts';
import { thisArchitecture } from '../../systemd/packaging/node-package.ts';
import { makeProgramFolder } from '../../systemd/packaging/program-folder.ts';
import { startDovecot } from '../support/servers/dovecot.ts';
import { freePort, runProgram } from '../support/servers/programs.ts';
import { copyCheckout, copyPackages, socketAddress } from '../support/systemd/checkout.ts';
import { bootSystemd, type Machine, whyNoSystemd } from '../support/systemd/systemd.ts';
import { temporaryFolder } from '../support/temporary.ts';

const data = '/var/lib/ticketmaild';
const configuration = '/etc/ticketmaild/ticketmaild.toml';
/** Ten times the exposure level of systemd-analyze. */
const exposureMax = 11;

const why = await whyNoSystemd();
const title = `the Debian package${why === null ? '' : ` (left out: ${why})`}`;

describe.skipIf(why !== null)(title, { timeout: 60_000 }, () => {
  let place: Place;
  let machine: Machine;

  beforeAll(async () => {
    place = await openPlace();
    machine = place.machine;
  }, 120_000);

  afterAll(() => place?.[Symbol.asyncDispose]());

  const active = async () => (await machine.run('systemctl is-active ticketmaild')).stdout.trim();
  const mainPid = () => machine.get('systemctl show ticketmaild --property=MainPID --value');
  const running = async () => machine.get(`readlink /proc/${await mainPid()}/exe`);
  const tickets = async () => Number(await machine.get(`sqlite3 ${data}/ticketmaild.db 'SELECT count(*) FROM ticket'`));
  const untilTickets = (count: number) => expect.poll(tickets, { timeout: 20_000 }).toBe(count);

  test('the scripts are valid for sh, and the documents are complete', async () => {
    for (const name of ['preinst', 'postinst', 'prerm', 'postrm']) {
      const script = await readFile(join(place.root, 'DEBIAN', name), 'utf8');
      expect(script).not.toContain('#INCLUDE');
      execFileSync('sh', ['-n'], { input: script });
    }
    const units = await readdir(join(place.root, 'usr/lib/systemd/system'));
    expect(units).toHaveLength(6);
    for (const unit of units) {
      expect(await readFile(join(place.root, 'usr/lib/systemd/system', unit), 'utf8')).not.toContain('/usr/local');
    }
    expect(await readdir(join(place.root, 'usr/share/doc/ticketmaild'))).toEqual([
      ...['README.md', 'THIRD-PARTY-LICENSES.gz', 'changelog.gz', 'configuration.md', 'copyright', 'examples'],
      'operation.md',
    ]);
    // Those of libc6 aside.
    const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' });
    const needed = [...libraries.matchAll(/^\s*(lib[a-z_+]+)\.so/gm)].map(([, name = '']) => name);
    const inLibc = ['libc', 'libdl', 'libm', 'libpthread'];
    expect(needed.filter((name) => !inLibc.includes(name)).sort()).toEqual(['libatomic', 'libgcc_s', 'libstdc++']);
  });

  test('one command installs, enables and starts it', async () => {
    const { code, stdout, stderr } = await machine.run('dpkg --install /srv/deb/first.deb');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('started ticketmaild.service');
    expect(stdout).toContain('ticketmaild encryption enable, or passwords are readable in the database');
    const units = 'ticketmaild.service ticketmaild-health.socket ticketmaild-page.socket';
    expect(await machine.get(`systemctl is-enabled ${units}; systemctl is-active ${units}`)).toBe(
      'enabled\nenabled\nenabled\nactive\nactive\nactive',
    );
    expect(await machine.get(`stat -c '%U:%G %a' ${data} /etc/ticketmaild ${configuration}`)).toBe(
      'ticketmaild:ticketmaild 700\nroot:ticketmaild 750\nroot:ticketmaild 640',
    );
    expect(await running()).toBe('/usr/lib/ticketmaild/node');
    expect(await machine.get('command -v ticketmaild; man --where ticketmaild; ticketmaild --version')).toBe(
      '/usr/bin/ticketmaild\n/usr/share/man/man8/ticketmaild.8.gz\n0.2.0',
    );
    await machine.get('bash -c ". /usr/share/bash-completion/completions/ticketmaild && complete -p ticketmaild"');
    expect((await machine.run('dpkg --verify ticketmaild')).stdout).toBe('');
  });

  test('systemd verifies the units, and rates their exposure as low', async () => {
    for (const unit of ['ticketmaild.service', 'ticketmaild@1.service']) {
      expect(await machine.run(`systemd-analyze verify ${unit}`)).toEqual({ code: 0, stdout: '', stderr: '' });
      expect((await machine.run(`systemd-analyze security --threshold=${exposureMax} ${unit}`)).code).toBe(0);
    }
  });

  test('a mail becomes a ticket, and the password is sealed', async () => {
    await machine.get('ticketmaild encryption enable --accept-key-loss --backup-prepared');
    const server = `--host localhost --port ${place.imapPort} --user ${place.user} --ca-file /srv/deb/ca.pem`;
    await machine.get(`printf pw | ticketmaild mailbox add --name desk ${server} --since all --password-stdin`);
    await untilTickets(1);
    expect(await machine.get(`find ${data} ! -user ticketmaild`)).toBe('');
    expect(await machine.get(`sqlite3 ${data}/ticketmaild.db 'SELECT password_form FROM mailboxes'`)).toBe('sealed');
  });

  test('an upgrade restarts it, and keeps configuration, data and what the sysadmin disabled', async () => {
    await machine.get(`echo '# mine' >>${configuration}; systemctl --quiet disable ticketmaild-page.socket`);
    const [before, pid] = [await machine.get(`sha256sum ${configuration} ${data}/encryption-key.bin`), await mainPid()];
    const { code, stderr } = await machine.run('dpkg --install /srv/deb/second.deb');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(await machine.get(`sha256sum ${configuration} ${data}/encryption-key.bin`)).toBe(before);
    expect([await active(), await mainPid()]).toEqual(['active', expect.not.stringContaining(pid)]);
    expect((await machine.run('systemctl is-enabled ticketmaild-page.socket')).stdout).toBe('disabled\n');
    await machine.get('systemctl --quiet enable ticketmaild-page.socket');
    await place.deliver('Subject: second\r\n\r\nHello\r\n');
    await untilTickets(2);
  });

  test('an upgrade leaves a stopped service stopped', async () => {
    await machine.get('systemctl stop ticketmaild-health.socket ticketmaild-page.socket ticketmaild');
    await machine.get('dpkg --install /srv/deb/first.deb');
    expect(await active()).toBe('inactive');
    await machine.get('systemctl start ticketmaild-health.socket ticketmaild-page.socket ticketmaild');
  });

  test.each([
    ['cut off', 'cut.deb', /unexpected end of file|corrupt|truncated|lzma/i],
    ['for another architecture', 'other.deb', /package architecture \(\w+\) does not match system/],
  ])('a package that is %s changes nothing', async (_what, file, reason) => {
    const pid = await mainPid();
    const { code, stderr } = await machine.run(`dpkg --install /srv/deb/${file}`);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(reason) });
    await expect.poll(active).toBe('active');
    expect(await machine.get('ticketmaild --version')).toBe('0.2.0');
    if (file === 'other.deb') expect(await mainPid()).toBe(pid);
  });

  test('a package whose program does not start is reported, and the one before is installed again', async () => {
    const { code, stderr } = await machine.run('dpkg --install /srv/deb/broken.deb');
    expect(code).toBe(1);
    expect(stderr).toContain('ticketmaild package: the program does not start on this machine');
    expect(await machine.run('dpkg --install /srv/deb/second.deb')).toMatchObject({ code: 0 });
    expect([await active(), await running()]).toEqual(['active', '/usr/lib/ticketmaild/node']);
  });

  test('an upgrade that is killed at any moment is completed by the next one, and no mail is lost or doubled', async () => {
    for (let round = 0; round < 6; round += 1) {
      const file = round % 2 === 0 ? 'first' : 'second';
      await machine.run(`timeout --signal=KILL 0.${1 + 2 * round} dpkg --install /srv/deb/${file}.deb`);
      await place.deliver(`Subject: killed ${round}\r\n\r\nHello\r\n`);
    }
    expect(await machine.run('dpkg --configure -a; dpkg --install /srv/deb/first.deb')).toMatchObject({ code: 0 });
    expect(await active()).toBe('active');
    await untilTickets(8);
  });

  test('a port that another process takes during an upgrade is named, and the next try opens the socket', async () => {
    const hold = `python3 -c "import socket,time
while True:
  try: s = socket.create_server(('127.0.0.1', ${place.pagePort})); break
  except OSError: time.sleep(0.001)
time.sleep(60)"`;
    await machine.get(`setsid sh -c '${hold.replaceAll("'", "'\\''")}' >/dev/null 2>&1 </dev/null &`);
    const { code, stderr } = await machine.run('dpkg --install /srv/deb/second.deb');
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('ticketmaild-page.socket does not start'),
    });
    await machine.get('pkill --full create_[s]erver');
    expect(await machine.run('dpkg --configure -a')).toMatchObject({ code: 0 });
    expect(await machine.get('systemctl is-active ticketmaild ticketmaild-page.socket')).toBe('active\nactive');
  });

  test('an installer of a checkout refuses beside it', async () => {
    expect(await machine.run('/srv/checkout/systemd/install --packages /srv/packages')).toEqual({
      ...{ code: 1, stdout: '' },
      stderr: 'install: the Debian package is installed: apt-get remove ticketmaild first\n',
    });
  });

  test('removing it keeps data and configuration, and the same package starts it again', async () => {
    await machine.get('systemctl --quiet enable ticketmaild@3.service');
    expect(await machine.run('dpkg --remove ticketmaild')).toMatchObject({ code: 0, stderr: '' });
    expect((await machine.run('ls -d /usr/lib/ticketmaild /usr/bin/ticketmaild')).stdout).toBe('');
    expect((await machine.run('ls /etc/systemd/system/multi-user.target.wants')).stdout).not.toContain('@3');
    expect(await machine.get('find /proc -maxdepth 1 -name "[0-9]*" -user ticketmaild')).toBe('');
    expect(await machine.get(`tail -n 1 ${configuration}; test -s ${data}/encryption-key.bin`)).toBe('# mine');
    expect(await machine.run('dpkg --install /srv/deb/first.deb')).toMatchObject({ code: 0, stderr: '' });
    expect(await active()).toBe('active');
  });

  test('a purge removes the configuration, and keeps data and key file', async () => {
    const { code, stdout, stderr } = await machine.run('dpkg --purge ticketmaild');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`Not removed: ${data}`);
    expect((await machine.run('ls -d /etc/ticketmaild /etc/systemd/system/*.wants/ticketmaild*')).stdout).toBe('');
    await machine.get(`test -s ${data}/encryption-key.bin -a -s ${data}/ticketmaild.db`);
  });

  test('it takes over an installation from a checkout, with its configuration, data and enabled units', async () => {
    // As a package leaves it that was given up while it was unpacked.
    await machine.get(`mkdir -p $(dirname ${configuration}) && echo '# put aside' >${configuration}.checkout`);
    await machine.get(`cat /srv/checkout/systemd/ticketmaild.toml >>${configuration}.checkout`);
    await machine.get('/srv/checkout/systemd/install --packages /srv/packages');
    expect(await machine.get(`head -n 1 ${configuration}; ls ${configuration}*`)).toBe(`# put aside\n${configuration}`);
    expect(await machine.get('ls /usr/local/lib/ticketmaild/current/config')).toBe('OAUTH.md\nREADME.md');
    await machine.get(`echo '# of the checkout' >>${configuration}; systemctl --quiet enable ticketmaild@3.service`);
    await machine.get('systemctl --quiet disable ticketmaild-page.socket');
    await place.deliver('Subject: checkout\r\n\r\nHello\r\n');
    await untilTickets(9);
    // Killed before its configuration was moved, then before its files are there.
    for (const s of [0.1, 0.2, 0.3, 0.5]) {
      await machine.run(`timeout --signal=KILL ${s} dpkg --install /srv/deb/first.deb`);
    }
    const { code, stdout, stderr } = await machine.run('dpkg --install /srv/deb/first.deb');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('took over the installation in /usr/local/lib/ticketmaild');
    expect(await machine.get(`tail -n 1 ${configuration}`)).toBe('# of the checkout');
    expect([await active(), await running()]).toEqual(['active', '/usr/lib/ticketmaild/node']);
    const left = '/usr/local/lib/ticketmaild /usr/local/bin/ticketmaild /usr/local/lib/systemd/system/ticketmaild*';
    expect((await machine.run(`ls -d ${left} /usr/local/share/man/man8/ticketmaild.8`)).stdout).toBe('');
    expect(await machine.get('readlink /etc/systemd/system/multi-user.target.wants/ticketmaild.service')).toMatch(
      /^(\/usr)?\/lib\/systemd\/system\/ticketmaild.service$/,
    );
    expect(await machine.get('systemctl is-enabled ticketmaild@3.service')).toBe('enabled');
    expect((await machine.run('systemctl is-enabled ticketmaild-page.socket')).stdout).toBe('disabled\n');
    expect((await machine.run('systemctl is-active ticketmaild@3.service')).stdout).toBe('inactive\n');
    await place.deliver('Subject: package\r\n\r\nHello\r\n');
    await untilTickets(10);
    await machine.get(`cp ${configuration} ${configuration}.checkout && echo '# newer' >>${configuration}`);
    expect((await machine.run('dpkg --install /srv/deb/first.deb')).stdout).toContain('it was changed after');
    expect(await machine.get(`tail -n 1 ${configuration}`)).toBe('# newer');
  });
});

type Place = {
  readonly machine: Machine;
  /** Of the first package. */
  readonly root: string;
  readonly imapPort: number;
  readonly pagePort: number;
  /** Who has a mailbox with one message. */
  readonly user: string;
  deliver(source: string): Promise<void>;
} & AsyncDisposable;

async function openPlace(): Promise<Place> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('debian'));
  await chmod(folder.path, 0o755);
  const [checkout, packages, debs] = ['checkout', 'packages', 'deb'].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  await mkdir(debs);
  const root = join(folder.path, 'root');
  const program = await makeProgramFolder(join(folder.path, 'program'));
  await layOutDebianPackage(root, thisArchitecture(), { program, version: '0.2.0', dateS: 1_700_000_000 });
  await Promise.all([makeVariants(root, debs), copyCheckout(checkout), copyPackages(packages)]);
  const dovecot = building.use(await startDovecot());
  await cp(dovecot.caFile, join(debs, 'ca.pem'));
  const folders = { [debs]: '/srv/deb', [checkout]: '/srv/checkout', [packages]: '/srv/packages' };
  const machine = building.use(await bootSystemd(folders));
  // Of a machine that is a container itself.
  await machine.get('rm -f /usr/sbin/policy-rc.d');
  const [port, pagePort] = [await freePort(), await freePort()];
  await machine.get(socketAddress('ticketmaild-health', `127.0.0.1:${port}`));
  await machine.get(socketAddress('ticketmaild-page', `127.0.0.1:${pagePort}`));
  const settings = `[Service]\nEnvironment=TICKETMAILD_HTTP_LISTEN=127.0.0.1:${port} TICKETMAILD_ADMIN_LISTEN=127.0.0.1:${pagePort} TICKETMAILD_POLL_INTERVAL_S=1\n`;
  const dropIns = '/etc/systemd/system/ticketmaild.service.d';
  await machine.run(`mkdir -p ${dropIns} && cat >${dropIns}/test.conf`, { input: settings });
  const user = dovecot.newUser();
  const deliver = (source: string) => dovecot.append(user, 'INBOX', [Buffer.from(source)]);
  await deliver('Subject: first\r\n\r\nHello\r\n');
  const undo = building.move();
  const end = () => undo.disposeAsync();
  return { machine, root, imapPort: dovecot.tlsPort, pagePort, user, deliver, [Symbol.asyncDispose]: end };
}

/** The package in folder `root` as it is, as a next version, cut off, for another architecture, and broken. */
async function makeVariants(root: string, debs: string): Promise<void> {
  const control = join(root, 'DEBIAN/control');
  const text = await readFile(control, 'utf8');
  const build = async (name: string, changed = text) => {
    await writeFile(control, changed);
    await runProgram('dpkg-deb', ['-Znone', '--root-owner-group', '--build', root, join(debs, name)]);
  };
  await build('second.deb', text.replace(/^Version: .*$/m, 'Version: 0.2.1'));
  const other = thisArchitecture() === 'amd64' ? 'arm64' : 'amd64';
  await build('other.deb', text.replace(/^Architecture: .*$/m, `Architecture: ${other}`));
  await cp(join(debs, 'second.deb'), join(debs, 'cut.deb'));
  await truncate(join(debs, 'cut.deb'), 100_000_000);
  const launcher = join(root, 'usr/lib/ticketmaild/ticketmaild.js');
  const source = await readFile(launcher, 'utf8');
  await writeFile(launcher, 'process.exit(7);\n');
  await build('broken.deb', text.replace(/^Version: .*$/m, 'Version: 0.2.2'));
  await writeFile(launcher, source);
  await build('first.deb');
}
