import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFaultProxy } from './support/faults/proxy.ts';
import { type Ended, runCommand, startDaemon } from './support/processes/daemon.ts';
import { launcher } from './support/processes/launcher.ts';
import { until } from './support/promises.ts';
import { startDovecot } from './support/servers/dovecot.ts';
import { freePort } from './support/servers/programs.ts';
import { type TemporaryFolder, temporaryFolder } from './support/temporary.ts';

/** Runs a command in a pseudo-terminal (util-linux). */
const pseudoTerminal = 'script';

let folder: TemporaryFolder;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await temporaryFolder('main');
  env = { TICKETMAILD_DATA_DIR: join(folder.path, 'data'), TICKETMAILD_HTTP_LISTEN: 'off' };
});

afterAll(() => folder[Symbol.asyncDispose]());

function run(args: readonly string[], more: { env?: Record<string, string>; input?: string } = {}): Promise<Ended> {
  const options = { env: { ...env, ...more.env }, cwd: folder.path };
  return runCommand(args, more.input === undefined ? options : { ...options, input: more.input });
}

test('plain Node runs it: the version is that of the package', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  for (const option of ['--version', '-V'])
    expect(await run([option])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});

test('an old Node reports the required version', async () => {
  const old = `data:text/javascript,Object.defineProperty(process.versions, 'node', { value: '20.20.2' })`;
  const { code, stdout, stderr } = await runCommand(['--version'], { env, nodeOptions: ['--import', old] });
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toBe(
    'ticketmaild: Node 26 or newer is needed, this is 20.20.2\n' +
      'hint: In a checkout, start it with src/ticketmaild COMMAND.\n',
  );
});

test.each([
  ['thrown where nobody catches', 'throw error'],
  ['a rejection that nobody awaits', 'Promise.reject(error)'],
])('a defect (%s) is one line and a stack, without the properties of the error', async (_what, how) => {
  const defect = `const error = Object.assign(new Error('a defect'), { options: { pass: ['hunt', 'er2'].join('') } });
    setTimeout(() => { ${how}; }, 1500)`;
  const nodeOptions = ['--import', `data:text/javascript,${encodeURIComponent(defect)}`];
  const { code, stdout, stderr } = await runCommand(['run'], { env, nodeOptions, cwd: folder.path });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^ticketmaild: a defect\nhint: .+\nError: a defect\n {4}at /);
  expect(stdout + stderr).not.toContain('hunter2');
});

test('help goes to standard output and names every command', async () => {
  const [all, mailbox, short] = await Promise.all([
    run(['--help']),
    run(['mailbox', '--help']),
    run(['mailbox', '-h']),
  ]);
  expect(short).toEqual(mailbox);
  expect([all.code, mailbox.code]).toEqual([0, 0]);
  for (const name of ['run', 'poll', 'check', 'migrate', 'reconcile', 'mailbox', 'ticket', 'message'])
    expect(all.stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'));
  for (const name of ['add', 'list', 'show', 'test', 'pause', 'resume', 'remove', 'set-password'])
    expect(mailbox.stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'));
});

test('a group without a command prints its help; help COMMAND… prints that of the command', async () => {
  const [none, all, group, groupHelp, add, addHelp] = await Promise.all(
    [[], ['--help'], ['mailbox'], ['mailbox', '--help'], ['help', 'mailbox', 'add'], ['mailbox', 'add', '-h']].map(
      (args) => run(args),
    ),
  );
  expect([none, group, add]).toEqual([all, groupHelp, addHelp]);
  expect([none, group, add]).toMatchObject([{ code: 0 }, { code: 0 }, { code: 0 }]);
  expect(add?.stdout).toContain('Usage: ticketmaild mailbox add ');
});

test('with --json a failure is an object on standard output too; a name that does not exist is exit code 4', async () => {
  expect(await run(['migrate'])).toMatchObject({ code: 0 });
  const [missing, misspelt] = await Promise.all([
    run(['mailbox', 'show', 'absent', '--json']),
    run(['mailbox', 'show', '--json']),
  ]);
  expect([missing.code, misspelt.code]).toEqual([4, 2]);
  expect(JSON.parse(missing.stdout)).toEqual({
    error: { code: 'not_found', message: 'There is no mailbox named "absent".', hint: expect.any(String) },
  });
  expect(JSON.parse(misspelt.stdout)).toMatchObject({ error: { code: 'usage' } });
  expect(missing.stderr).toMatch(/^ticketmaild: .+\nhint: .+\n$/);
  // After -- it is a name.
  expect(await run(['mailbox', 'show', '--', '--json'])).toMatchObject({ code: 4, stdout: '' });
});

describe('a usage error is one line, a hint and exit code 2', () => {
  const seeHelp = 'See --help of the command.';

  test.each<[args: readonly string[], message: string, hint: string]>([
    [['help', 'mailbx'], "unknown command 'mailbx' (Did you mean mailbox?)", 'ticketmaild help lists every command.'],
    [['rum'], "unknown command 'rum' (Did you mean run?)", seeHelp],
    [['run', '--prety'], "unknown option '--prety' (Did you mean --pretty?)", seeHelp],
    [['mailbox', 'add', '--nme', 'x'], "unknown option '--nme' (Did you mean --name?)", seeHelp],
    [['mailbox', 'add', '--password', 'hunter2'], "unknown option '--password'", seeHelp],
    [['mailbox', 'add', '--name'], "option '--name <name>' argument missing", seeHelp],
    [['mailbox', 'add', '--name', 'x'], 'missing: --host, --user', seeHelp],
    [['mailbox', 'set-password', '--no-probe', 'x', 'hunter2'], "too many arguments for 'set-password'", seeHelp],
    [['mailbox', 'show'], "missing required argument 'name'", seeHelp],
  ])('%j', async (args, message, hint) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout, stderr }).toEqual({
      code: 2,
      stdout: '',
      stderr: `ticketmaild: ${message}\nhint: ${hint}\n`,
    });
  });
});

describe('an invalid configuration is one line, a hint and exit code 2', () => {
  test.each(['run', 'check', 'ticket list'])('%s', async (command) => {
    const file = join(folder.path, 'wrong.toml');
    writeFileSync(file, '# desk\n[poll]\ninterval_s = "soon"\n');
    const { code, stdout, stderr } = await run([...command.split(' '), '--config', file]);
    const message = 'wrong.toml:3: poll.interval_s must be a whole number of seconds from 1 to 86400, not "soon"';
    expect(code).toBe(2);
    if (command === 'check') expect(stdout).toContain(`failed  configuration: ${message}\n`);
    else
      expect(stderr).toBe(
        `ticketmaild: ${message}\nhint: Correct the named line of the configuration file, or the named environment variable.\n`,
      );
  });

  test('the file is found by its variable, and invalid variables are named', async () => {
    const [file, variable] = await Promise.all([
      run(['mailbox', 'list'], { env: { TICKETMAILD_CONFIG: 'none.toml' } }),
      run(['mailbox', 'list'], { env: { TICKETMAILD_POLL_INTERVAL_S: 'soon' } }),
    ]);
    expect([file.code, variable.code]).toEqual([2, 2]);
    expect(file.stderr).toMatch(/^ticketmaild: none.toml: there is no such configuration file\nhint: .+\n$/);
    expect(variable.stderr).toMatch(/^ticketmaild: TICKETMAILD_POLL_INTERVAL_S must be a whole number of seconds /);
  });
});

test('a safety rule is exit code 3, an outside failure 1', async () => {
  const add = ['mailbox', 'add', '--name', 'x', '--user', 'u', '--tls', 'none', '--password-stdin'];
  const [refused, outside] = await Promise.all([
    run([...add, '--host', 'mail.example'], { input: 'pw' }),
    run([...add, '--host', '127.0.0.1', '--port', `${await freePort()}`], { input: 'pw' }),
  ]);
  expect(refused).toEqual({
    code: 3,
    stdout: '',
    stderr:
      'ticketmaild: --tls none to mail.example, which is another machine\n' +
      'hint: The password would cross the network unencrypted: use TLS, or add --allow-plaintext if you accept that.\n',
  });
  expect(outside.code).toBe(1);
  expect(outside.stderr).toMatch(/^ticketmaild: 127\.0\.0\.1:\d+: [^\n]+\nhint: [^\n]+\n$/);
});

test.each([
  [['--version']],
  [['mailbox', '--help']],
  [['config', 'show']],
  [['config', 'show', '--json']],
  [['completion', 'bash']],
])('a full disk behind standard output is one line and a hint, not a defect: %j', (args) => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [launcher, ...args], {
    ...{ env: { ...process.env, ...env }, cwd: folder.path },
    stdio: ['ignore', full, 'pipe'],
  });
  closeSync(full);
  const lines = `${stderr}`.split('\n').filter((line) => !line.startsWith('configuration file: '));
  expect([status, lines]).toEqual([
    1,
    [
      'ticketmaild: standard output cannot be written (ENOSPC)',
      'hint: The output is incomplete: free some space where it goes, or write it elsewhere.',
      '',
    ],
  ]);
});

test('a reader that closes the pipe early is no error', async () => {
  const child = spawn(process.execPath, [launcher, '--help'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH },
  });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = await once(child, 'close');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

describe('signals', () => {
  /** A mail server that takes every connection and never says a word. */
  async function silentServer(): Promise<
    AsyncDisposable & { readonly port: number; readonly connected: Promise<unknown> }
  > {
    const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return {
      port: address.port,
      connected: once(server, 'connection'),
      async [Symbol.asyncDispose]() {
        server.close();
        await once(server, 'close');
      },
    };
  }

  async function add(name: string, port: number, own: Record<string, string>, more: readonly string[]): Promise<void> {
    const server = ['--host', '127.0.0.1', '--port', `${port}`, '--tls', 'none', '--no-probe', '--password-stdin'];
    const added = await run(['mailbox', 'add', '--name', name, ...server, ...more], { env: own, input: 'pw' });
    expect(added).toMatchObject({ code: 0 });
  }

  test('the first starts a graceful shutdown of run, which ends with exit code 0', async () => {
    const own = { ...env, TICKETMAILD_DATA_DIR: join(folder.path, 'idle') };
    await using daemon = startDaemon(['run'], { env: own, cwd: folder.path });
    await daemon.waitFor(({ event }) => event === 'daemon.ready');
    daemon.signal('SIGTERM');
    const { code, stderr } = await daemon.exit;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  test('run --pretty writes lines for people', async () => {
    const own = { ...env, TICKETMAILD_DATA_DIR: join(folder.path, 'pretty') };
    await using daemon = startDaemon(['run', '--pretty'], { env: own, cwd: folder.path });
    await until('the daemon is ready', () => daemon.stdout().includes(' daemon.ready'));
    daemon.signal('SIGTERM');
    const { code, stdout } = await daemon.exit;
    expect(code).toBe(0);
    for (const line of stdout.trimEnd().split('\n'))
      expect(line).toMatch(/^(\d{4}-\d\d-\d\d [\d:]{8} [A-Z]{4,5} | {26}hint: )/);
  });

  test('SIGUSR1 opens no debugger, and the daemon continues', async () => {
    const own = { ...env, TICKETMAILD_DATA_DIR: join(folder.path, 'debugged') };
    await using daemon = startDaemon(['run'], { env: own, cwd: folder.path });
    await daemon.waitFor(({ event }) => event === 'daemon.ready');
    daemon.signal('SIGUSR1');
    await wait(500);
    expect(daemon.stderr()).toBe('');
    daemon.signal('SIGTERM');
    expect(await daemon.exit).toMatchObject({ code: 0, stderr: '' });
  });

  test('the second ends it at once', async () => {
    const own = { ...env, TICKETMAILD_DATA_DIR: join(folder.path, 'busy'), TICKETMAILD_SHUTDOWN_TIMEOUT_S: '60' };
    await using dovecot = await startDovecot();
    await using proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.port });
    const user = dovecot.newUser();
    await dovecot.append(user, 'INBOX', [
      Buffer.from(`Subject: large\r\n\r\n${'x'.repeat(70)}\r\n`.padEnd(500_000, 'x')),
    ]);
    await add('stalling', proxy.port, own, ['--user', user, '--since', 'all']);
    proxy.fault = { kind: 'stall_after', bytes: 100_000 };
    await using daemon = startDaemon(['run'], { env: own, cwd: folder.path });
    while (proxy.bytesFromServer < 100_000) await wait(20);
    daemon.signal('SIGTERM');
    await daemon.waitFor(({ event }) => event === 'daemon.stopping');
    const ended = await Promise.race([daemon.exit, wait(500).then(() => 'draining')]);
    expect(ended).toBe('draining');
    const startedAt = performance.now();
    daemon.signal('SIGTERM');
    expect((await daemon.exit).code).toBe(143);
    expect(performance.now() - startedAt).toBeLessThan(1000);
  });

  test('one is enough for any other command', async () => {
    const own = { ...env, TICKETMAILD_DATA_DIR: join(folder.path, 'tested') };
    await using server = await silentServer();
    await add('silent', server.port, own, ['--user', 'u']);
    await using command = startDaemon(['mailbox', 'test', 'silent'], { env: own, cwd: folder.path });
    await server.connected;
    command.signal('SIGINT');
    expect((await command.exit).code).toBe(130);
  });
});

describe('at a terminal', () => {
  /** Runs in a pseudo-terminal; `keys` are typed once `question` is shown. */
  async function typed(
    args: readonly string[],
    question: string,
    keys: string,
  ): Promise<{ code: number; screen: string }> {
    const command = [process.execPath, launcher, ...args].map((word) => `'${word}'`).join(' ');
    const child = spawn(pseudoTerminal, ['--quiet', '--return', '--command', command, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: process.env.PATH, SHELL: '/bin/sh', TERM: 'xterm', ...env },
      cwd: folder.path,
    });
    let screen = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (!screen.includes(question) && (screen + text).includes(question)) child.stdin.write(keys);
      screen += text;
    });
    const [code] = await once(child, 'close');
    return { code, screen };
  }

  const add = ['mailbox', 'add', '--host', '127.0.0.1', '--tls', 'none', '--user', 'desk', '--no-probe', '--name'];

  test('the password is prompted for without an echo', async () => {
    const { code, screen } = await typed([...add, 'typed'], 'Password of "desk": ', 'hunter2\r');
    expect(code).toBe(0);
    expect(screen).toMatch(/^[^\n]*warning: encryption is off[\s\S]+?\nPassword of "desk": \r\nadded typed: /);
  });

  test('Ctrl-C at the prompt stores nothing', async () => {
    const { code, screen } = await typed([...add, 'stopped'], 'Password of "desk": ', 'hunt\u0003');
    expect(code).toBe(1);
    expect(screen.slice(screen.indexOf('Password of'))).toBe(
      'Password of "desk": \r\nticketmaild: stopped at the password prompt\r\nhint: Nothing was changed.\r\n',
    );
    expect((await run(['mailbox', 'show', 'stopped'])).code).toBe(4);
  });

  test('remove asks for confirmation, and anything but yes cancels it', async () => {
    await run([...add, 'kept', '--password-stdin'], { input: 'pw' });
    const no = await typed(['mailbox', 'remove', 'kept'], '[y/N]', 'n\r');
    expect(no.code).toBe(1);
    expect(no.screen).toContain('kept kept');
    const yes = await typed(['mailbox', 'remove', 'kept'], '[y/N]', 'y\r');
    expect(yes.code).toBe(0);
    expect(yes.screen).toContain('removed kept');
  });
});
