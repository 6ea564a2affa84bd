/**
 * An empty Debian 12 server, without Node, gets the Debian package by the commands of `systemd/README.md` as they are
 * pasted: to the first ticket with a sealed password, then an upgrade, a roll back, the removal and the purge.
 *
 * Replaced are only the names of mail server, user and versions, and what a person types: passwords and confirmations.
 * The seconds of each command are printed. The tests follow one another on one machine.
 */
import { cp, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readPackage } from '../../systemd/packaging/checkout.ts';
import { layOutDebianPackage } from '../../systemd/packaging/debian/debian-package.ts';
import { thisArchitecture } from '../../systemd/packaging/node-package.ts';
import { makeProgramFolder } from '../../systemd/packaging/program-folder.ts';
import { newCanary } from '../support/leaks/canary.ts';
import { startDovecot } from '../support/servers/dovecot.ts';
import { freePort, runProgram } from '../support/servers/programs.ts';
import { socketAddress } from '../support/systemd/checkout.ts';
import { debianRoot, whyNoDebianRoot } from '../support/systemd/debian-root.ts';
import { bootSystemd, type Machine, whyNoSystemd } from '../support/systemd/systemd.ts';
import { temporaryFolder } from '../support/temporary.ts';

const manual = await readFile(fileURLToPath(new URL('../../systemd/README.md', import.meta.url)), 'utf8');

/** The blocks of shell lines for the Debian package in a chapter of the manual. */
function blocks(chapter: string): readonly (readonly string[])[] {
  const text =
    new RegExp(`^## ${chapter}.*?\\n\\*\\*Debian package(.*?)\\n\\*\\*Checkout`, 'ms').exec(manual)?.[1] ?? '';
  return [...text.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block = '']) => block.trimEnd().split('\n'));
}

const [, installing = []] = blocks('Service');
const [upgrading = [], removing = []] = blocks('Upgrade');

const data = '/var/lib/ticketmaild';
const nextVersion = '99.0.0';

const why = (await whyNoSystemd()) ?? whyNoDebianRoot();
const title = `an empty Debian 12${why === null ? '' : ` (left out: ${why})`}`;

describe.skipIf(why !== null)(title, { timeout: 120_000, tags: ['long'] }, () => {
  let place: Place | string;
  let machine: Machine;
  const took: string[] = [];

  beforeAll(async () => {
    place = await openPlace();
    if (typeof place !== 'string') machine = place.machine;
  }, 900_000);

  afterAll(async () => {
    process.stdout.write(`${took.join('\n')}\n`);
    if (typeof place !== 'string') await place?.[Symbol.asyncDispose]();
  });

  beforeEach(({ skip }) => {
    if (typeof place === 'string') skip(place);
  });

  const here = (): Place => {
    if (typeof place === 'string') throw new Error(place);
    return place;
  };
  const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const startedMs = performance.now();
    const result = await work();
    took.push(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s  ${what}`);
    return result;
  };
  /** Runs one line in the folder that holds the package. */
  const paste = async (line: string, input = '') => {
    const { code, stdout, stderr } = await timed(line, () => machine.run(`cd /root/dist && ${line}`, { input }));
    expect(`${code} ${code === 0 ? '' : stdout + stderr}`, line).toBe('0 ');
  };
  const untilTicket = (subject: string) =>
    timed(`until there is a ticket: ${subject}`, () =>
      machine.until(`ticketmaild ticket list | grep -q '${subject}'`, 20_000),
    );
  const installed = () => machine.get('dpkg-query --show ticketmaild');

  test('has neither Node nor the program', async () => {
    expect((await machine.run('command -v node npm ticketmaild')).stdout).toBe('');
    expect(await machine.get('. /etc/os-release; echo $VERSION_CODENAME')).toBe('bookworm');
  });

  test('gets the package, encryption, a mailbox and the first ticket by the lines of the manual', async () => {
    expect(installing).toContain('ticketmaild check');
    for (const line of installing) {
      if (line.startsWith('apt-get install')) await paste(line, 'y\n');
      else if (line.includes(' encryption enable')) await paste(`${line} --accept-key-loss --backup-prepared`);
      else if (line.includes(' mailbox add')) await paste(`${here().atServer(line)} --password-stdin`, here().password);
      else await paste(line);
    }
    await untilTicket('the first message');
    const units = 'ticketmaild.service ticketmaild-health.socket ticketmaild-page.socket';
    expect(await machine.get(`systemctl is-active ${units}`)).toBe('active\nactive\nactive');
  });

  test('has the password nowhere, where the subject is found', async () => {
    const find = (text: string) =>
      machine.run(`grep -r -D skip --text -l -F -f - ${data} /etc/ticketmaild /var/log /run/log`, { input: text });
    expect(await find(here().password)).toMatchObject({ code: 1, stdout: '' });
    expect((await find('the first message')).stdout).toContain(`${data}/`);
    expect(JSON.parse(await machine.get('ticketmaild encryption status --json'))).toMatchObject({
      ...{ state: 'on', sealed: 1, plaintext: 0, plaintext_periods: [] },
    });
  });

  test('is upgraded by the line of the manual, and rolled back', async () => {
    const before = await installed();
    await machine.get('ln -sfn /srv/deb/next /root/dist');
    for (const line of upgrading) await paste(line, 'y\n');
    expect(await installed()).toBe(`ticketmaild\t${nextVersion}`);
    await here().deliver('upgraded');
    await untilTicket('upgraded');
    expect(manual).toContain('install the package of the version before (`dpkg --install FILE`)');
    await paste('dpkg --install /srv/deb/first/ticketmaild_*.deb');
    expect(await installed()).toBe(before);
    await here().deliver('rolled back');
    await untilTicket('rolled back');
  });

  test('loses the program by the lines of the manual, and keeps the data', async () => {
    for (const line of removing) await paste(line, 'y\n');
    const left = '/usr/lib/ticketmaild /usr/bin/ticketmaild /etc/ticketmaild /etc/systemd/system/*.wants/ticketmaild*';
    expect((await machine.run(`ls -d ${left}`)).stdout).toBe('');
    await machine.get(`test -s ${data}/encryption-key.bin -a -s ${data}/ticketmaild.db`);
    expect(await machine.get('systemctl list-units --failed --no-legend')).toBe('');
    expect(await machine.get('find /proc -maxdepth 1 -name "[0-9]*" -user ticketmaild')).toBe('');
  });
});

type Place = {
  readonly machine: Machine;
  readonly password: string;
  /** A line with the mail server and user of this test. */
  atServer(line: string): string;
  deliver(subject: string): Promise<void>;
} & AsyncDisposable;

/** Why it is left out, where the root folder cannot be made. */
async function openPlace(): Promise<Place | string> {
  const root = await debianRoot().catch((error: Error) => `debootstrap: ${error.message.trim().split('\n').at(-1)}`);
  if (!root.startsWith('/')) return root;
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('empty-debian'));
  const debs = join(folder.path, 'deb');
  await makePackages(folder.path, debs);
  const canary = newCanary();
  const dovecot = building.use(await startDovecot({ password: canary }));
  await cp(dovecot.caFile, join(debs, 'ca.pem'));
  const user = dovecot.newUser();
  const deliver = (subject: string) =>
    dovecot.append(user, 'INBOX', [Buffer.from(`Subject: ${subject}\r\n\r\nHello\r\n`)]);
  await deliver('the first message');
  const machine = building.use(await bootSystemd({ [debs]: '/srv/deb' }, root));
  await machine.get('ln -s /srv/deb/first /root/dist');
  await machine.run('cat >/etc/resolv.conf', { input: await readFile('/etc/resolv.conf', 'utf8') });
  await takeFreePorts(machine);
  const undo = building.move();
  return {
    machine,
    password: Buffer.from(canary).toString(),
    atServer: (line) =>
      line
        .replace('--host mail.example.org', `--host localhost --port ${dovecot.tlsPort} --ca-file /srv/deb/ca.pem`)
        .replace('--user support@example.org', `--user ${user}`),
    deliver,
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** The package, and the same as a next version; not compressed, which takes long and changes nothing. */
async function makePackages(folder: string, to: string): Promise<void> {
  const program = await makeProgramFolder(join(folder, 'program'));
  const { version } = await readPackage();
  for (const [name, each] of [
    ['first', version],
    ['next', nextVersion],
  ] as const) {
    const root = join(folder, name);
    await layOutDebianPackage(root, thisArchitecture(), { program, version: each, dateS: 1_700_000_000 });
    await mkdir(join(to, name), { recursive: true });
    const file = join(to, name, `ticketmaild_${each}_${thisArchitecture()}.deb`);
    await runProgram('dpkg-deb', ['-Znone', '--root-owner-group', '--build', root, file]);
  }
}

/** The network is that of all tests, where the usual ports may be taken. */
async function takeFreePorts(machine: Machine): Promise<void> {
  const [health, page] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  await machine.get(socketAddress('ticketmaild-health', health));
  await machine.get(socketAddress('ticketmaild-page', page));
  const settings = `[Service]\nEnvironment=TICKETMAILD_HTTP_LISTEN=${health} TICKETMAILD_ADMIN_LISTEN=${page}\n`;
  const folder = '/etc/systemd/system/ticketmaild.service.d';
  await machine.run(`mkdir -p ${folder} && cat >${folder}/test.conf`, { input: settings });
}
