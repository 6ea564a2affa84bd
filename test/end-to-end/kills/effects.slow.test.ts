/**
 * Crash safety of a poll: SIGKILL before each of its effects, then an ordinary poll. Every message is stored once, and
 * deleted on the server after that.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openCommandLine } from '../../commands/command-line.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import { runCommand } from '../../support/processes/daemon.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';

let dovecot: Dovecot;

serversOfFile((servers) => {
  ({ dovecot } = servers);
});

const preload = fileURLToPath(new URL('../../support/faults/kill-at.ts', import.meta.url));
const perPoll = 3;

function mail(name: string): Buffer {
  const head = `From: a-${name}@example.test\r\nSubject: ${name}\r\nMessage-ID: <${name}@example.test>\r\nMIME-Version: 1.0\r\n`;
  const file = `--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n${name}\r\n--b--\r\n`;
  return Buffer.from(`${head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n${file}`);
}

const strides: readonly { readonly stride: number; readonly tags: string[] }[] = [
  { stride: 5, tags: [] },
  { stride: 1, tags: ['long'] },
];

for (const { stride, tags } of strides)
  test(`killed before one effect of ${stride}, no poll loses or doubles a message`, { timeout: 400_000, tags }, () =>
    pollUnderKills(stride),
  );

async function pollUnderKills(stride: number): Promise<void> {
  await using cli = await openCommandLine();
  const user = dovecot.newUser();
  const server = ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
  const settings = ['--name', 'desk', '--user', user, '--since', 'all', '--on-success', 'delete', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', ...server, ...settings], 'pw')).toMatchObject({ code: 0 });
  const sent: string[] = [];
  const arrive = async (): Promise<void> => {
    const names = Array.from({ length: perPoll }, (_, index) => `m${sent.length + index}`);
    await dovecot.append(user, 'INBOX', names.map(mail));
    sent.push(...names);
  };
  const countFile = join(cli.folder, 'effects');
  const poll = (at: number) =>
    runCommand(['poll', 'desk'], {
      env: { ...cli.env, KILL_AT: `${at}`, KILL_COUNT_FILE: countFile },
      nodeOptions: ['--import', preload],
    });
  await arrive();
  expect(await poll(0)).toMatchObject({ code: 0 });
  const effects = Number(await readFile(countFile, 'utf8'));
  let kills = 0;
  for (let at = 1 + Math.floor(Math.random() * stride); at <= effects; at += stride) {
    await arrive();
    if ((await poll(at)).code === 'SIGKILL') kills += 1;
    expect(await poll(0)).toMatchObject({ code: 0 });
  }
  // The first poll of a folder has a few effects more.
  expect(kills).toBeGreaterThanOrEqual(Math.floor((effects / stride) * 0.8));
  const tickets = (await cli.run(['ticket', 'list', '--limit', '10000', '--json'])).json.map(({ subject }) => subject);
  expect(tickets.toSorted()).toEqual(sent.toSorted());
  expect(await cli.run(['reconcile'])).toMatchObject({ code: 0 });
  expect((await dovecot.listFlags(user, 'INBOX')).size).toBe(0);
}
