/**
 * Crash safety of a poll and of a release from quarantine: SIGKILL before each effect, then the same command again.
 * Every message is stored once, and deleted on the server after that.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../../commands/command-line.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import { type Ended, runCommand } from '../../support/processes/daemon.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';

let dovecot: Dovecot;

serversOfFile((servers) => {
  ({ dovecot } = servers);
});

const preload = fileURLToPath(new URL('../../support/faults/kill-at.ts', import.meta.url));
const perPoll = 3;
/** More than a megabyte, the limit here. */
const tooManyLines = 14_000;

function mail(name: string, bodyLines: number): Buffer {
  const head = `From: a-${name}@example.test\r\nSubject: ${name}\r\nMessage-ID: <${name}@example.test>\r\nMIME-Version: 1.0\r\n`;
  const file = `--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n${name}\r\n--b--\r\n`;
  const text = `${'x'.repeat(76)}\r\n`.repeat(bodyLines);
  return Buffer.from(`${head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n${text}${file}`);
}

describe.each([
  // A transaction has more effects than that.
  { ofPoll: 5, ofRelease: 3, tags: [] },
  { ofPoll: 1, ofRelease: 1, tags: ['long'] },
])('killed before one effect of $ofPoll or $ofRelease', ({ ofPoll, ofRelease, tags }) => {
  const options = { timeout: 400_000, tags };

  test('no poll loses or doubles a message', options, () => pollUnderKills(ofPoll));

  test('no release from quarantine loses or doubles one', options, () => releaseUnderKills(ofRelease));
});

type Setting = {
  readonly cli: CommandLine;
  readonly user: string;
  readonly sent: readonly string[];
  /** So many new messages. */
  arrive(count: number): Promise<void>;
  /** A command as a process; it is killed before its effect number `at`, if that is not 0. */
  run(command: readonly string[], at: number): Promise<Ended>;
  /** How many effects the last command that was not killed had. */
  effects(): Promise<number>;
} & AsyncDisposable;

async function openSetting(bodyLines: number): Promise<Setting> {
  const cli = await openCommandLine({ TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1', TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1' });
  const user = dovecot.newUser();
  const server = ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
  const settings = ['--name', 'desk', '--user', user, '--since', 'all', '--on-success', 'delete', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', ...server, ...settings], 'pw')).toMatchObject({ code: 0 });
  const sent: string[] = [];
  const countFile = join(cli.folder, 'effects');
  return {
    ...{ cli, user, sent },
    arrive: async (count) => {
      const names = Array.from({ length: count }, (_, index) => `m${sent.length + index}`);
      await dovecot.append(
        user,
        'INBOX',
        names.map((name) => mail(name, bodyLines)),
      );
      sent.push(...names);
    },
    run: (command, at) =>
      runCommand(command, {
        env: { ...cli.env, KILL_AT: `${at}`, KILL_COUNT_FILE: countFile },
        nodeOptions: ['--import', preload],
      }),
    effects: async () => Number(await readFile(countFile, 'utf8')),
    [Symbol.asyncDispose]: () => cli[Symbol.asyncDispose](),
  };
}

/** Every message is one ticket, nothing is left in quarantine, and the folder is empty. */
async function expectAllStoredOnce({ cli, user, sent }: Setting): Promise<void> {
  const tickets = (await cli.run(['ticket', 'list', '--limit', '10000', '--json'])).json.map(({ subject }) => subject);
  expect(tickets.toSorted()).toEqual(sent.toSorted());
  expect(await cli.run(['quarantine', 'list', '--json'])).toMatchObject({ code: 0, json: [] });
  expect(await cli.run(['reconcile'])).toMatchObject({ code: 0 });
  expect((await dovecot.listFlags(user, 'INBOX')).size).toBe(0);
}

async function pollUnderKills(stride: number): Promise<void> {
  await using at = await openSetting(1);
  const poll = ['poll', 'desk'];
  await at.arrive(perPoll);
  expect(await at.run(poll, 0)).toMatchObject({ code: 0 });
  const effects = await at.effects();
  let kills = 0;
  for (let effect = 1 + Math.floor(Math.random() * stride); effect <= effects; effect += stride) {
    await at.arrive(perPoll);
    if ((await at.run(poll, effect)).code === 'SIGKILL') kills += 1;
    expect(await at.run(poll, 0)).toMatchObject({ code: 0 });
  }
  // The first poll of a folder has a few effects more.
  expect(kills).toBeGreaterThanOrEqual(Math.floor((effects / stride) * 0.8));
  await expectAllStoredOnce(at);
}

async function releaseUnderKills(stride: number): Promise<void> {
  await using at = await openSetting(tooManyLines);
  const [poll, release] = [
    ['poll', 'desk'],
    ['quarantine', 'release', '--all'],
  ] as const;
  const quarantine = async () => {
    await at.arrive(1);
    expect(await at.run(poll, 0)).toMatchObject({ code: 0 });
  };
  await quarantine();
  expect(await at.run(release, 0)).toMatchObject({ code: 0 });
  const effects = await at.effects();
  let kills = 0;
  for (let effect = 1 + Math.floor(Math.random() * stride); effect <= effects; effect += stride) {
    await quarantine();
    if ((await at.run(release, effect)).code === 'SIGKILL') kills += 1;
    expect(await at.run(release, 0)).toMatchObject({ code: 0 });
  }
  expect(kills).toBeGreaterThanOrEqual(Math.floor((effects / stride) * 0.8));
  expect(await at.run(poll, 0)).toMatchObject({ code: 0 });
  await expectAllStoredOnce(at);
}
