/**
 * The service as a sysadmin meets it: installed from a clean checkout into this machine's own systemd, then started,
 * reloaded, killed, upgraded and removed. Left out, and said so, where that systemd cannot be booted.
 *
 * The tests follow one another on one machine. Instead of npm a script puts the packages in place, so that no network
 * is needed.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { startMariadb } from '../support/servers/mariadb.ts';
import { freePort } from '../support/servers/programs.ts';
import { copyCheckout, copyPackages, dropIn, npmStandIn, socketAddress } from '../support/systemd/checkout.ts';
import { bootSystemd, type Machine, whyNoSystemd } from '../support/systemd/systemd.ts';
import { temporaryFolder } from '../support/temporary.ts';

const install = '/srv/checkout/systemd/install';
const data = '/var/lib/ticketmaild';
const configuration = '/etc/ticketmaild/ticketmaild.toml';
const current = 'readlink -f /usr/local/lib/ticketmaild/current';
const [databasePassword, keyPassphrase] = ['ticketmaild-database-password', 'ticketmaild-key-passphrase'];
/** Ten times the exposure level of systemd-analyze. */
const exposureMax = 11;

/** Of the one daemon here; the unit says 30. */
const watchdogS = 3;

const long = { tags: ['long'] };
const units = fileURLToPath(new URL('../../systemd/', import.meta.url));

test('the template unit equals the service unit except for name and addresses', async () => {
  const [one = '', many = ''] = await Promise.all(
    ['ticketmaild.service', 'ticketmaild@.service'].map(async (name) => {
      const text = await readFile(join(units, name), 'utf8');
      return text.slice(text.indexOf('[Unit]'));
    }),
  );
  const own =
    /^Environment=TICKETMAILD_(WORKER_NAME=%i|HTTP_LISTEN=127\.0\.0\.1:803%i|ADMIN_LISTEN=127\.0\.0\.1:804%i)\n/gm;
  expect(many.match(own)).toHaveLength(3);
  expect(
    many.replace(own, '').replace(' (worker %i)', '').replace('Identifier=ticketmaild-%i', 'Identifier=ticketmaild'),
  ).toBe(one);
});

test.each([
  ['ticketmaild.service', 1],
  ['ticketmaild@.service', 1],
  ['ticketmaild', 2],
  ['service.sh', 1],
  ['install', 1],
])('every installed start of Node in %s has the debugger signal disabled', async (name, count) => {
  const lines = (await readFile(join(units, name), 'utf8')).split('\n').filter((line) => !line.startsWith('#'));
  expect(lines.filter((line) => /\/node"? --|as_service "\$1"/.test(line))).toHaveLength(count);
  expect(lines.filter((line) => line.includes('--disable-sigusr1 '))).toHaveLength(count);
});

/** The function of the installer that detects a running version. */
function runsFolder(installer: string, folder: string): boolean {
  const [body = ''] = /^runs\(\) \{\n[\s\S]*?^\}$/m.exec(installer) ?? [];
  return spawnSync('sh', ['-euc', `${body}\nruns "$1"`, 'sh', folder]).status === 0;
}

test('the installer detects a version that a process still runs', async () => {
  const installer = await readFile(join(units, 'install'), 'utf8');
  expect(installer).toContain('*) runs "$folder" || rm -rf "$folder" ;;');
  await using folder = await temporaryFolder('version');
  await copyFile('/bin/sleep', join(folder.path, 'node'));
  expect(runsFolder(installer, folder.path)).toBe(false);
  const child = spawn(join(folder.path, 'node'), ['30'], { cwd: '/' });
  await once(child, 'spawn');
  expect(runsFolder(installer, folder.path)).toBe(true);
  child.kill();
  await once(child, 'exit');
});

test('Node refuses fsync under its permission model, which is why the units do not use it', () => {
  const allowed = [...process.allowedNodeEnvironmentFlags]
    .filter((flag) => flag.startsWith('--allow-'))
    .map((flag) => (/-fs-(read|write)$/.test(flag) ? `${flag}=*` : flag));
  expect(allowed).toContain('--allow-fs-write=*');
  const sync =
    "const fs = require('node:fs'); try { fs.fsyncSync(fs.openSync('.')); } catch (e) { console.log(e.code); }";
  const ask = (...flags: string[]) => execFileSync(process.execPath, ['--no-warnings', ...flags, '--eval', sync]);
  expect(`${ask()}`).toBe('');
  expect(`${ask('--permission', ...allowed)}`).toBe('ERR_ACCESS_DENIED\n');
});

const why = await whyNoSystemd();
const title = `the service in systemd${why === null ? '' : ` (left out: ${why})`}`;

describe.skipIf(why !== null)(title, { timeout: 60_000 }, () => {
  let place: Place;
  let machine: Machine;

  beforeAll(async () => {
    place = await openPlace();
    machine = place.machine;
  }, 120_000);

  afterAll(() => place?.[Symbol.asyncDispose]());

  const show = (property: string, unit = 'ticketmaild') =>
    machine.get(`systemctl show ${unit} --property=${property} --value`);
  const journal = async (unit = 'ticketmaild'): Promise<readonly JournalEntry[]> =>
    lines(await machine.get(`journalctl -u ${unit} -o json --no-pager`)).map((line) => JSON.parse(line));
  const logged = async (unit?: string): Promise<readonly LogLine[]> =>
    (await journal(unit)).filter(isOurs).map(({ MESSAGE }) => JSON.parse(MESSAGE));
  /** Does `work` and waits for an event that was not there before. */
  const untilLogged = async (event: string, work: () => Promise<unknown>): Promise<LogLine> => {
    const before = (await logged()).length;
    await work();
    const find = async () => (await logged()).slice(before).find((line) => line.event === event);
    await expect.poll(find, { timeout: 15_000 }).toBeDefined();
    return (await find()) ?? {};
  };
  const configure = (toml: string) => machine.get(`cat >>${configuration} <<'TOML'\n${toml}\nTOML\n`);

  test('a usage error of the installer is one line', async () => {
    const told = (code: number, line: string) => ({ code, stdout: '', stderr: `install: ${line}\n` });
    expect(await machine.run(`${install} --start`)).toEqual(told(2, '--start is not known: see --help'));
    expect(await machine.run(`${install} --packages`)).toEqual(told(2, 'a folder must follow --packages: see --help'));
    const noPackages = '/srv is no node_modules with a Node for this machine in it';
    expect(await machine.run(`${install} --packages /srv`)).toEqual(told(1, noPackages));
    const notRoot = 'only root can install a service: run it with sudo, or as root';
    expect(await machine.run(`setpriv --reuid=65534 --clear-groups ${install}`)).toEqual(told(1, notRoot));
    expect(await machine.run(`${install} --help`)).toMatchObject({ code: 0, stderr: '' });
    expect(await machine.run('ls /usr/local/lib/ticketmaild')).toMatchObject({ code: 2 });
  });

  test('one command installs and starts it from a clean checkout', async () => {
    const { code, stdout, stderr } = await machine.run(install);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(installed);
    const called = /^\/usr\/local\/lib\/ticketmaild\/\S+ ci --omit=dev --ignore-scripts /;
    expect(await machine.get('cat /root/npm-calls')).toMatch(called);
    expect(await machine.get('systemctl is-enabled ticketmaild; systemctl is-active ticketmaild')).toBe(
      'enabled\nactive',
    );
    expect(await machine.get(`stat -c '%U %G %a' ${data} ${configuration}`)).toBe(
      'ticketmaild ticketmaild 700\nroot ticketmaild 640',
    );
    expect(await machine.get('getent passwd ticketmaild')).toMatch(/:\/nonexistent:\/usr\/sbin\/nologin$/);
  });

  test('it is active once it is ready, with a status sentence', async () => {
    const isListening = (entry: JournalEntry) => isOurs(entry) && JSON.parse(entry.MESSAGE).event === 'http.listening';
    const listening = (await journal()).find(isListening);
    const active = Number(await show('ActiveEnterTimestampMonotonic'));
    expect(active).toBeGreaterThan(Number(listening?.['__MONOTONIC_TIMESTAMP']));
    expect(await show('StatusText')).toMatch(/^\p{Lu}[^\n]{5,199}$/u);
    const answer = await fetch(`http://127.0.0.1:${place.port}/readyz`);
    expect(answer.status).toBe(200);
  });

  test('each line of its journal is JSON with the priority of its level', async () => {
    const own = (await journal()).filter(isOurs);
    expect(own.length).toBeGreaterThan(3);
    for (const { MESSAGE, PRIORITY } of own) {
      const { level } = JSON.parse(MESSAGE);
      expect({ level, PRIORITY }).toEqual({ level, PRIORITY: priorities[level] });
    }
  });

  test('manual pages and completion are in place', async () => {
    expect(await machine.get('man --where ticketmaild ticketmaild.toml')).toMatch(/\.8\n.*\.5$/);
    const bash = '. /usr/local/share/bash-completion/completions/ticketmaild && complete -p ticketmaild';
    expect(await machine.get(`bash -c '${bash}'`)).toContain('ticketmaild');
    await machine.get('test -s /usr/local/share/zsh/site-functions/_ticketmaild');
    await machine.get('test -s /usr/local/share/fish/vendor_completions.d/ticketmaild.fish');
  });

  test('systemd verifies the units, and rates their exposure as low', async () => {
    for (const unit of ['ticketmaild.service', 'ticketmaild@1.service']) {
      expect(await machine.run(`systemd-analyze verify ${unit}`)).toEqual({ code: 0, stdout: '', stderr: '' });
      const analysed = await machine.run(`systemd-analyze security --threshold=${exposureMax} ${unit}`);
      expect(analysed.code).toBe(0);
    }
  });

  test('it has no core dumps, writes to its data only, and executes no other program', async () => {
    const pid = await show('MainPID');
    expect(await machine.get(`cat /proc/${pid}/coredump_filter`)).toBe('00000000');
    expect(await machine.get(`grep 'core file' /proc/${pid}/limits`)).toMatch(/size +0 +0 +bytes/);
    const touch = (path: string) => machine.run(`touch /proc/${pid}/root${path}/.x && rm /proc/${pid}/root${path}/.x`);
    for (const path of ['/etc', '/usr/lib', '/usr/local/lib/ticketmaild', '/var/log', '/var/lib']) {
      expect({ path, ...(await touch(path)) }).toMatchObject({ path, stderr: expect.stringContaining('Read-only') });
    }
    expect(await touch(data)).toMatchObject({ code: 0 });
    for (const program of ['/bin/sh', '/usr/lib/systemd/systemd']) {
      const ran = await machine.run(`nsenter --target=${pid} --mount ${program} --version`);
      expect({ program, ...ran }).toMatchObject({ program, stderr: expect.stringContaining('Permission denied') });
    }
    expect(await machine.get(`stat --format=%a /proc/${pid}/root/dev/shm`)).toBe('0');
  });

  const encrypt = (secret: string, name: string) =>
    machine.get(`printf ${secret} | systemd-creds encrypt --name=${name} - /etc/credstore.encrypted/${name}`);

  test('the password of the database comes from an encrypted credential, to daemon and commands', async () => {
    await configure(`[database]\nurl = "${place.databaseUrl}"`);
    expect((await machine.run('ticketmaild check')).stdout).toMatch(/^failed +database: /m);
    await encrypt('app', databasePassword);
    await machine.get('systemctl restart ticketmaild');
    expect(await machine.get('ticketmaild check --json')).toContain('{"check":"database","ok":true');
    await expect.poll(() => show('StatusText'), { timeout: 15_000 }).toMatch(/^Ready/);
  });

  test('commands run by root leave files that belong to the service, whatever NODE_OPTIONS and PATH are', async () => {
    await configure('[poll]\ninterval_s = 1');
    const ca = '/etc/ticketmaild/ca.pem';
    await machine.run(`cat >${ca}`, { input: place.dovecot.caPem });
    const server = `--host localhost --port ${place.dovecot.tlsPort} --ca-file ${ca} --user ${place.user}`;
    const add = `printf pw | ticketmaild mailbox add --name desk ${server} --since all --password-stdin`;
    await machine.get(`export NODE_OPTIONS=--no-such-option NODE_PATH=/nowhere PATH=/nowhere:$PATH; ${add}`);
    await machine.get('systemctl stop ticketmaild && cd /root && ticketmaild poll desk');
    await machine.get('ticketmaild encryption enable --accept-key-loss --backup-prepared');
    await machine.get('mkdir -m 700 /root/safe && ticketmaild key backup /root/safe/key.bin');
    await machine.get('ticketmaild key verify /root/safe/key.bin');
    expect(await machine.get(`find ${data} ! -user ticketmaild`)).toBe('');
    expect(await machine.get(`stat -c '%U %a' /root/safe/key.bin`)).toBe('root 600');
    await machine.get('systemctl start ticketmaild');
  });

  test('mail becomes a ticket within the limits of the unit', async () => {
    await untilLogged('message.ticket_opened', () => place.deliver('Subject: second\r\n\r\nHello\r\n'));
  });

  test('a reload needs no restart, and an invalid configuration is not applied', async () => {
    const pid = await show('MainPID');
    await configure('[shutdown]\ntimeout_s = 1\n[message]\nbatch_messages_max = 50\n[log]\nlevel = "debug"');
    const reload = () => machine.get('systemctl reload ticketmaild');
    expect(await untilLogged('config.reloaded', reload)).toMatchObject({
      level_now: 'debug',
      needs_restart: ['message'],
    });
    await configure('[nonsense]');
    await untilLogged('config.reload_failed', reload);
    await machine.get(`sed -i '/nonsense/d' ${configuration}`);
    // Without a job of systemd the state changes, and changes back, by the word of the daemon alone.
    const changed = await show('StateChangeTimestampMonotonic');
    await machine.get('systemctl kill --signal=HUP --kill-who=main ticketmaild');
    await expect.poll(() => show('StateChangeTimestampMonotonic')).not.toBe(changed);
    await expect.poll(() => show('ActiveState')).toBe('active');
    expect([await show('MainPID'), await show('NRestarts')]).toEqual([pid, '0']);
  });

  const untilRestarts = (count: number) =>
    machine.until(
      `[ "$(systemctl show ticketmaild -p NRestarts --value)" = ${count} ] && systemctl is-active ticketmaild`,
      20_000,
    );

  test('the watchdog restarts it when its event loop is blocked, and not before', async () => {
    const age =
      '$(cut -d. -f1 /proc/uptime) - $(systemctl show ticketmaild -p ExecMainStartTimestampMonotonic --value) / 1000000';
    await machine.until(`[ $((${age})) -gt ${2 * watchdogS} ]`);
    expect([await show('NRestarts'), await show('ActiveState')]).toEqual(['0', 'active']);
    await machine.get('systemctl kill --signal=USR2 --kill-who=main ticketmaild');
    await untilRestarts(1);
    expect((await journal()).some((entry) => entry['UNIT_RESULT'] === 'watchdog')).toBe(true);
  });

  test('it is restarted after it was killed', async () => {
    await machine.get('systemctl kill --signal=KILL --kill-who=main ticketmaild');
    await untilRestarts(2);
  });

  test('a start with an invalid configuration is not retried', long, async () => {
    await configure('[nonsense]');
    expect(await machine.run('systemctl restart ticketmaild')).toMatchObject({ code: 1 });
    // One that is to be tried again would be "activating".
    expect([await show('ActiveState'), await show('ExecMainStatus'), await show('NRestarts')]).toEqual([
      'failed',
      '2',
      '0',
    ]);
    const [refused] = (await logged()).slice(-1);
    expect(refused).toMatchObject({ level: 'error', event: 'daemon.failed', error: { code: 'config_invalid' } });
    await machine.get(`sed -i '/nonsense/d' ${configuration} && systemctl start ticketmaild`);
  });

  test('it shuts down gracefully within the timeout, even with a mail server that does not answer', async () => {
    await using silent = await startSilentServer();
    const server = `--host 127.0.0.1 --port ${silent.port} --tls starttls --user x`;
    await machine.get(`printf pw | ticketmaild mailbox add --name silent ${server} --no-probe --password-stdin`);
    await silent.called;
    const startMs = performance.now();
    await untilLogged('daemon.stopped', () => machine.get('systemctl stop ticketmaild'));
    // A second to drain, and time for this machine to look.
    expect(performance.now() - startMs).toBeLessThan(5_000);
    expect([await show('Result'), await show('ExecMainStatus')]).toEqual(['success', '0']);
    await machine.get('ticketmaild mailbox remove silent --yes && systemctl start ticketmaild');
  });

  test('an upgrade preserves data, key and configuration, and the previous version', long, async () => {
    const kept = `sha256sum ${configuration} ${data}/encryption-key.bin`;
    const [before, pid, old] = [await machine.get(kept), await show('MainPID'), await machine.get(current)];
    const { code, stdout } = await machine.run(`${install} --packages /srv/packages`);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('restarted ticketmaild.service'),
    });
    expect(await machine.get(kept)).toBe(before);
    expect(await show('MainPID')).not.toBe(pid);
    expect(await machine.get(`test -d ${old} && ${current}`)).not.toBe(old);
    expect(await machine.get('ticketmaild mailbox list')).toContain('desk');
    await machine.get('systemctl stop ticketmaild');
    expect(await machine.get(install)).toContain('left the service as it was');
    expect(await machine.run('systemctl is-active ticketmaild')).toMatchObject({ stdout: 'inactive\n' });
    await machine.get('systemctl start ticketmaild');
    expect(lines(await machine.get('ls -d /usr/local/lib/ticketmaild/*-*'))).toHaveLength(2);
  });

  test('a version that still runs is not removed by later upgrades', long, async () => {
    const versions = async () => lines(await machine.get('ls -d /usr/local/lib/ticketmaild/*-*'));
    const running = await machine.get(current);
    // Two versions of one second would have one name.
    await machine.get(`${install} --no-start && sleep 1 && ${install} --no-start`);
    expect(await versions()).toContain(running);
    await machine.get(`systemctl restart ticketmaild && sleep 1 && ${install}`);
    expect(await versions()).not.toContain(running);
    expect(await versions()).toHaveLength(2);
  });

  test('a downgrade does not remove the folder from which it is run', long, async () => {
    const now = await machine.get(current);
    const versions = lines(await machine.get('ls -d /usr/local/lib/ticketmaild/*-*'));
    const before = versions.find((version) => version !== now) ?? '';
    const back = `cd ${before} && sleep 1 && systemd/install --packages node_modules`;
    expect(await machine.get(back)).toMatch(new RegExp(`after ${basename(now)}\\. To go back: cd ${now} `));
    await machine.get(`cd ${before} && ticketmaild --version`);
    await machine.get('mkdir /tmp/gone && cd /tmp/gone && rmdir /tmp/gone && ticketmaild mailbox list');
    await machine.get(`sleep 1; ${install}`);
    expect(lines(await machine.get('ls -d /usr/local/lib/ticketmaild/*-*'))).toHaveLength(2);
  });

  test.each([
    ['whose packages cannot be fetched', 'touch /root/npm-fails', 'npm could not fetch the packages'],
    [
      'that does not even start',
      'echo "throw 1;" >/root/new/src/main.ts',
      'the program does not start on this machine',
    ],
  ])('an upgrade %s leaves the old version running', long, async (_what, spoil, told) => {
    const [pid, old] = [await show('MainPID'), await machine.get(current)];
    await machine.get(`rm -rf /root/new && cp -R /srv/checkout /root/new && ${spoil}`);
    const { code, stderr } = await machine.run('/root/new/systemd/install');
    await machine.get('rm -f /root/npm-fails');
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(told) });
    expect([await show('MainPID'), await machine.get(current)]).toEqual([pid, old]);
    expect(lines(await machine.get('ls -d /usr/local/lib/ticketmaild/*-*'))).toHaveLength(2);
  });

  test('an upgrade whose daemon does not become ready is rolled back', long, async () => {
    const old = await machine.get(current);
    await machine.get(
      'rm -rf /root/new && cp -R /srv/checkout /root/new && echo "throw 1;" >/root/new/src/commands/service.ts',
    );
    const damaged = await machine.run('/root/new/systemd/install');
    expect(damaged).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing was changed') });
    const broken = 's/^  const . log, serviceManager, clock . = ports;/  throw new Error("broken");\\n&/';
    await machine.get(
      `cp -R /srv/checkout/src /root/new && sed -i '${broken}' /root/new/src/ingest/scheduler/daemon.ts && grep -q broken /root/new/src/ingest/scheduler/daemon.ts`,
    );
    const { code, stderr } = await machine.run('/root/new/systemd/install');
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('the previous version is active again'),
    });
    expect([await machine.get(current), await show('ActiveState')]).toEqual([old, 'active']);
  });

  test('the passphrase of the key file comes from an encrypted credential, to daemon and commands', long, async () => {
    await encrypt('Drei-Birnen-7', keyPassphrase);
    await machine.get('systemctl restart ticketmaild');
    await machine.get('printf Drei-Birnen-7 | ticketmaild key protect --passphrase-stdin');
    expect(await machine.get(`head -c 21 ${data}/encryption-key.bin`)).toBe('age-encryption.org/v1');
    await untilLogged('vault.opened', () => machine.get('systemctl restart ticketmaild'));
    expect(await machine.run('ticketmaild mailbox test desk </dev/null')).toMatchObject({ code: 0 });
    await untilLogged('message.ticket_opened', () => place.deliver('Subject: third\r\n\r\nHello\r\n'));
    expect(await machine.get('ls -A /run/ticketmaild-credentials')).toBe('');
    expect((await machine.run(`grep -rls Drei-Birnen-7 ${data} /etc /run /tmp`)).stdout).toBe(
      `/run/credentials/ticketmaild.service/${keyPassphrase}\n`,
    );
  });

  test('several workers run on one host, each with its own address', long, async () => {
    await machine.get('systemctl disable --now ticketmaild');
    for (const [name, port] of Object.entries(place.workerPorts)) {
      const listen = `Environment=TICKETMAILD_HTTP_LISTEN=127.0.0.1:${port}`;
      await machine.get(dropIn('address', listen, `ticketmaild@${name}`));
    }
    await machine.get('systemctl enable --now ticketmaild@1 ticketmaild@2');
    for (const [name, port] of Object.entries(place.workerPorts)) {
      expect(await show('ActiveState', `ticketmaild@${name}`)).toBe('active');
      expect(await show('WatchdogUSec', `ticketmaild@${name}`)).toBe('30s');
      expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
    }
    expect(await machine.get(install)).toContain('restarted ticketmaild@1.service ticketmaild@2.service');
    expect(await machine.run('systemctl is-enabled ticketmaild')).toMatchObject({ stdout: 'disabled\n' });
  });

  test('a worker does not consider another one dead whose processes it cannot see', long, async () => {
    const started = (await logged('ticketmaild@1')).findLast(({ event }) => event === 'daemon.starting');
    const ask = [
      "import { thisWorker } from '/usr/local/lib/ticketmaild/current/src/adapters/process/identity.ts';",
      'process.exit(thisWorker().isDead(process.argv[2]) ? 9 : 0);',
    ].join('\n');
    await machine.run('cat >/etc/ticketmaild/ask.ts', { input: ask });
    const node = '/usr/local/lib/ticketmaild/current/node_modules/.bin/node';
    const asking = `Type=oneshot\nRestart=no\nExecStart=\nExecStart=${node} /etc/ticketmaild/ask.ts ${started?.['worker']}`;
    await machine.get(dropIn('ask', asking, 'ticketmaild@3'));
    await machine.run('systemctl start ticketmaild@3');
    expect(await show('ExecMainStatus', 'ticketmaild@3')).toBe('0');
  });

  test('uninstalling preserves data, key file, configuration and user', long, async () => {
    const { code, stdout, stderr } = await machine.run('/srv/checkout/systemd/uninstall');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const left of [data, '/etc/ticketmaild', 'encryption-key.bin', 'user ticketmaild']) {
      expect(stdout).toContain(left);
    }
    expect(await machine.run('/srv/checkout/systemd/uninstall')).toMatchObject({ code: 0, stderr: '' });
    await machine.get(`test -s ${data}/encryption-key.bin -a -s ${data}/ticketmaild.db -a -s ${configuration}`);
    await machine.get('getent passwd ticketmaild && [ "$(systemctl is-system-running)" = running ]');
    const shared = '/usr/local/share/man/man?/ticketmaild* /usr/local/share/zsh/site-functions/_ticketmaild';
    const gone = `/usr/local/lib/ticketmaild /usr/local/bin/ticketmaild /usr/local/lib/systemd/system/ticketmaild* ${shared}`;
    expect((await machine.run(`ls -d ${gone}`)).stdout).toBe('');
    expect(await machine.get('find /proc -maxdepth 1 -name "[0-9]*" -user ticketmaild')).toBe('');
  });
});

type Place = {
  readonly machine: Machine;
  readonly dovecot: Dovecot;
  /** Who has a mailbox on it, with one message in it. */
  readonly user: string;
  /** Without its password, which is app. */
  readonly databaseUrl: string;
  /** Where the health endpoints of the one daemon are, and of several. */
  readonly port: number;
  readonly workerPorts: Readonly<Record<string, number>>;
  deliver(source: string): Promise<void>;
} & AsyncDisposable;

async function openPlace(): Promise<Place> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('service'));
  await chmod(folder.path, 0o755);
  const [checkout, packages] = [join(folder.path, 'checkout'), join(folder.path, 'packages')];
  await Promise.all([copyCheckout(checkout), copyPackages(packages)]);
  const dovecot = building.use(await startDovecot());
  const mariadb = building.use(await startMariadb());
  const { name } = await mariadb.createDatabase();
  const machine = building.use(await bootSystemd({ [checkout]: '/srv/checkout', [packages]: '/srv/packages' }));
  const port = await freePort();
  await machine.get(npmStandIn);
  const pagePort = await freePort();
  const address = [
    `Environment=TICKETMAILD_HTTP_LISTEN=127.0.0.1:${port}`,
    `Environment=TICKETMAILD_ADMIN_LISTEN=127.0.0.1:${pagePort}`,
  ];
  await machine.get(socketAddress('ticketmaild-health', `127.0.0.1:${port}`));
  await machine.get(socketAddress('ticketmaild-page', `127.0.0.1:${pagePort}`));
  const stall = "process.on('SIGUSR2', () => { for (;;); });\n";
  await machine.run('cat >/etc/stall.mjs', { input: stall });
  const settings = [
    'Environment=NODE_OPTIONS=--import=/etc/stall.mjs',
    `WatchdogSec=${watchdogS}s`,
    'RestartSec=200ms',
  ];
  await machine.get(dropIn('test', [...address, ...settings].join('\n')));
  const user = dovecot.newUser();
  const deliver = (source: string) => dovecot.append(user, 'INBOX', [Buffer.from(source)]);
  await deliver('Subject: first\r\n\r\nHello\r\n');
  const databaseUrl = `mysql://app@127.0.0.1:${mariadb.port}/${name}`;
  const workerPorts = { 1: await freePort(), 2: await freePort() };
  const undo = building.move();
  const end = () => undo.disposeAsync();
  return { machine, dovecot, user, databaseUrl, port, workerPorts, deliver, [Symbol.asyncDispose]: end };
}

/** Takes connections and says nothing; `called` resolves when the first one is there. */
async function startSilentServer(): Promise<
  { readonly port: number; readonly called: Promise<unknown> } & AsyncDisposable
> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const called = once(server, 'connection');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    called,
    [Symbol.asyncDispose]: async () => {
      const [socket] = await called;
      socket.destroy();
      server.close();
    },
  };
}

type JournalEntry = { readonly [field: string]: string; readonly MESSAGE: string };
type LogLine = Readonly<Record<string, unknown>>;

const priorities: Readonly<Record<string, string>> = { error: '3', warn: '4', info: '6', debug: '7' };

/** A line that the daemon wrote, not systemd about it. */
function isOurs({ _COMM, SYSLOG_IDENTIFIER }: JournalEntry): boolean {
  return SYSLOG_IDENTIFIER?.startsWith('ticketmaild') === true && _COMM !== 'systemd';
}

function lines(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '');
}

const installed = new RegExp(
  [
    '^made the user ticketmaild',
    'put ticketmaild \\S+ into /usr/local/lib/ticketmaild/\\S+',
    'wrote /etc/ticketmaild/ticketmaild.toml',
    'linked /usr/local/bin/ticketmaild, and the units in \\S+',
    'enabled and started ticketmaild.service and its sockets',
    '',
    'Next:',
  ].join('\n'),
);
