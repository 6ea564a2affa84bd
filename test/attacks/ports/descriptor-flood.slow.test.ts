/**
 * Descriptor exhaustion: another user of the machine connects to each unix socket that the daemon opens while it
 * handles a request, and holds the connections. None is open to them, and the daemon has no descriptor more.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { startDaemon } from '../../support/processes/daemon.ts';
import { endWithUs, freePort } from '../../support/servers/programs.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const stranger = 65_534;
const isRoot = process.getuid?.() === 0;
const floodMs = 5_000;
const clients = 8;

/**
 * Connects to every listening unix socket of the program without a file or in its data folder, which is $DATA, and
 * prints how many connections it has once its standard input ends. It never reads, so that the other side cannot close.
 */
const holder = `
  const { readFileSync } = require('node:fs');
  const { createConnection } = require('node:net');
  const held = new Set();
  let tried = 0;
  function look() {
    for (const line of readFileSync('/proc/net/unix', 'latin1').split('\\n')) {
      const [, name = ''] = /^\\S+ \\S+ \\S+ 00010000 0001 \\S+ +\\S+ (.+)$/.exec(line) ?? [];
      const isOurs = name.startsWith('@ticketmaild') || name.startsWith(process.env.DATA);
      for (let time = 0; isOurs && time < 20; time += 1) {
        tried += 1;
        const socket = createConnection(name.replace('@', '\\0'), () => held.add(socket));
        socket.pause().on('error', () => held.delete(socket)).on('close', () => held.delete(socket));
      }
    }
    setImmediate(look);
  }
  process.stdin.resume().on('end', () => {
    console.log(JSON.stringify({ held: held.size, hasTried: tried > 0 }));
    process.exit();
  });
  look();`;

async function post(address: string, stop: AbortSignal): Promise<number> {
  for (let count = 0; ; count += 1) {
    if (stop.aborted) return count;
    await (await fetch(`${address}/admin/sign-in`, { method: 'POST', body: new URLSearchParams({ a: 'b' }) })).text();
  }
}

test.skipIf(!isRoot)('a stranger holds no connection of the daemon', async () => {
  await using folder = await temporaryFolder('flood');
  const port = await freePort();
  const env = {
    TICKETMAILD_DATA_DIR: folder.path,
    TICKETMAILD_DATABASE_URL: `sqlite:${join(folder.path, 'ticketmaild.db')}`,
    TICKETMAILD_HTTP_LISTEN: 'off',
    TICKETMAILD_ADMIN_LISTEN: `127.0.0.1:${port}`,
  };
  await using daemon = startDaemon(['run'], { env });
  await daemon.waitFor(({ event }) => event === 'admin.listening');
  const descriptors = async () => (await readdir(`/proc/${daemon.pid}/fd`)).length;
  const before = await descriptors();

  const attack = spawn(process.execPath, ['-e', holder], {
    ...{ uid: stranger, gid: stranger, cwd: '/', env: { DATA: folder.path } },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  endWithUs(attack);
  const stop = AbortSignal.timeout(floodMs);
  const posted = await Promise.all(Array.from({ length: clients }, () => post(`http://127.0.0.1:${port}`, stop)));
  const added = (await descriptors()) - before;
  attack.stdin.end();
  const [printed] = await Promise.all([text(attack.stdout), once(attack, 'close')]);

  expect(Math.min(...posted)).toBeGreaterThan(10);
  // The control socket in the data folder is tried, too.
  expect(JSON.parse(printed)).toEqual({ held: 0, hasTried: true });
  // Connections of the clients, and what a request opens for a moment.
  expect(added).toBeLessThan(4 * clients);
});
