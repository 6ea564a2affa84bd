import { execFile } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import {
  appendFile,
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { watchFile } from '../../../src/adapters/keyfile/watch-file.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';
import { freshKeys, keyFileIn, pathIn, pause } from './setting.ts';

const isRoot = process.geteuid?.() === 0;
const stranger = 54_321;
const promptMs = 300;
let outer: TemporaryFolder;
let folder = '';
let path = '';

beforeEach(async () => {
  outer = await temporaryFolder('watch');
  folder = join(outer.path, 'data');
  await mkdir(folder);
  path = pathIn(folder);
});

afterEach(() => outer[Symbol.asyncDispose]());

const content = (sizeBytes = 32) => randomFillSync(Buffer.alloc(sizeBytes));
const put = () => writeFile(path, content(), { mode: 0o600 });
const putFolder = async () => {
  await mkdir(folder);
  await put();
};

/** A change of the file and what must be there before it. Each is one that the vault must hear of. */
const changes: readonly (readonly [string, { prepare?: () => Promise<unknown>; change: () => Promise<unknown> }])[] = [
  ['a first file', { change: put }],
  ['another content in place', { prepare: put, change: put }],
  ['a byte more', { prepare: put, change: () => appendFile(path, 'x') }],
  ['a truncation', { prepare: put, change: () => truncate(path, 0) }],
  ['a removal', { prepare: put, change: () => unlink(path) }],
  ['a mode', { prepare: put, change: () => chmod(path, 0o644) }],
  ['a move away', { prepare: put, change: () => rename(path, `${path}.old`) }],
  [
    'a removal and a new file',
    {
      prepare: put,
      change: async () => {
        await unlink(path);
        await put();
      },
    },
  ],
  [
    'an atomic replacement',
    {
      prepare: async () => {
        await put();
        await writeFile(`${path}.new`, content());
      },
      change: () => rename(`${path}.new`, path),
    },
  ],
  [
    'a symbolic link in its place',
    {
      prepare: async () => {
        await put();
        await symlink('/dev/null', `${path}.new`);
      },
      change: () => rename(`${path}.new`, path),
    },
  ],
  ['the removal of the folder', { prepare: put, change: () => rm(folder, { recursive: true }) }],
  ['a folder that comes back with a file', { prepare: () => rm(folder, { recursive: true }), change: putFolder }],
  [
    'a folder that is replaced by another',
    {
      prepare: async () => {
        await mkdir(`${folder}.new`);
        await writeFile(join(`${folder}.new`, 'encryption-key.bin'), content());
      },
      change: async () => {
        await rename(folder, `${folder}.old`);
        await rename(`${folder}.new`, folder);
      },
    },
  ],
];

/** How long after `change` the first call came, or Infinity. */
async function toldAfter(change: () => Promise<unknown>, watch: (onChange: () => void) => Disposable): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  using _watching = watch(resolve);
  await pause(30);
  const startedAt = performance.now();
  await change();
  const timer = setTimeout(resolve, 5000);
  await promise;
  clearTimeout(timer);
  const tookMs = performance.now() - startedAt;
  return tookMs < 4990 ? tookMs : Number.POSITIVE_INFINITY;
}

const latencies: number[] = [];

describe.each(changes)('%s', (_title, { prepare, change }) => {
  test('is told at once, by an event', async () => {
    await prepare?.();
    const tookMs = await toldAfter(change, (onChange) => keyFileIn(folder).watch(onChange));
    latencies.push(tookMs);
    expect(tookMs).toBeLessThan(promptMs);
  });

  test('is told by the slow look when there are no events', async () => {
    await prepare?.();
    const noEvents = () => {
      throw Object.assign(new Error('no watches left'), { code: 'ENOSPC' });
    };
    const tookMs = await toldAfter(change, (onChange) =>
      watchFile(path, onChange, { pollMs: 50, startEvents: noEvents }),
    );
    expect(tookMs).toBeLessThan(promptMs);
  });
});

test('half of the changes are told within a tenth of a second, on a busy machine too', () => {
  expect(latencies).toHaveLength(changes.length);
  expect(latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length / 2)]).toBeLessThan(100);
});

describe('the watch', () => {
  test('goes on after each change, also after the folder was removed and made again', async () => {
    let calls = 0;
    using _watching = keyFileIn(folder).watch(() => {
      calls += 1;
    });
    for (const [step, change] of [
      put,
      () => chmod(path, 0o640),
      () => rm(folder, { recursive: true }),
      putFolder,
      put,
      () => rm(folder, { recursive: true }),
      () => mkdir(folder),
      put,
    ].entries()) {
      const before = calls;
      await change();
      await pause(promptMs);
      // An empty folder has no more of a key file than no folder.
      if (step !== 6) expect([step, calls > before]).toEqual([step, true]);
    }
  });

  test('gathers many events into a few calls', async () => {
    let calls = 0;
    using _watching = keyFileIn(folder).watch(() => {
      calls += 1;
    });
    for (let time = 0; time < 200; time += 1) await put();
    await pause(100);
    const tookRounds = calls;
    expect(tookRounds).toBeGreaterThan(0);
    expect(tookRounds).toBeLessThan(100);
  });

  test('tells of a file that is written without a pause while that goes on', async () => {
    let calls = 0;
    using _watching = keyFileIn(folder).watch(() => {
      calls += 1;
    });
    const until = performance.now() + 200;
    while (performance.now() < until) await put();
    expect(calls).toBeGreaterThan(1);
  });

  test('is silent while nothing changes, while others write beside, and while the file is read', async () => {
    let calls = 0;
    const keyFile = keyFileIn(folder, { pollMs: 20 });
    await keyFile.create(freshKeys());
    await pause(50);
    using _watching = keyFile.watch(() => {
      calls += 1;
    });
    await pause(60);
    for (let time = 0; time < 20; time += 1) {
      await keyFile.read();
      await writeFile(join(folder, 'switch-state'), `${time}`);
    }
    await pause(100);
    expect(calls).toBe(0);
  });

  test('hears once of what the key file itself writes', async () => {
    let calls = 0;
    const keyFile = keyFileIn(folder);
    using _watching = keyFile.watch(() => {
      calls += 1;
    });
    await keyFile.create(freshKeys());
    await pause(100);
    expect(calls).toBeGreaterThan(0);
    expect(calls).toBeLessThanOrEqual(2);
  });

  test('ends when it is disposed, whatever is under way', async () => {
    let calls = 0;
    const watching = keyFileIn(folder, { pollMs: 20 }).watch(() => {
      calls += 1;
    });
    await put();
    watching[Symbol.dispose]();
    watching[Symbol.dispose]();
    await put();
    await pause(100);
    expect(calls).toBe(0);
  });

  test('starts again after its events broke', async () => {
    const started: FSWatcher[] = [];
    let calls = 0;
    using _watching = watchFile(path, () => (calls += 1), {
      pollMs: 30,
      startEvents: (where, options, onEvent) => {
        const watcher = watch(where, options, onEvent);
        started.push(watcher);
        return watcher;
      },
    });
    started[0]?.emit('error', Object.assign(new Error('gone'), { code: 'EIO' }));
    await pause(80);
    expect(started).toHaveLength(2);
    await put();
    await pause(100);
    expect(calls).toBeGreaterThan(0);
  });

  test.runIf(isRoot)('bears a folder that cannot be entered', async () => {
    let calls = 0;
    await chown(outer.path, stranger, stranger);
    await put();
    process.seteuid?.(stranger);
    try {
      await chmod(outer.path, 0);
      using _watching = keyFileIn(folder, { pollMs: 20 }).watch(() => {
        calls += 1;
      });
      await pause(60);
      await chmod(outer.path, 0o700);
      await pause(250);
    } finally {
      process.seteuid?.(0);
    }
    expect(calls).toBe(1);
  });

  test('bears a folder that was never there, and sees it come', async () => {
    const tookMs = await toldAfter(
      async () => {
        await mkdir(join(outer.path, 'later', 'data'), { recursive: true });
        await writeFile(pathIn(join(outer.path, 'later', 'data')), content());
      },
      (onChange) => keyFileIn(join(outer.path, 'later', 'data')).watch(onChange),
    );
    expect(tookMs).toBeLessThan(promptMs);
  });

  test.runIf(process.platform === 'linux')('leaves no watch of the system and no timer behind', async () => {
    const before = await systemWatches();
    for (let time = 0; time < 20; time += 1) {
      const watching = keyFileIn(folder).watch(() => undefined);
      if (time === 0) expect(await systemWatches()).toBe(before + 1);
      if (time % 5 === 0) {
        await rm(folder, { recursive: true });
        await pause(30);
        await mkdir(folder);
        await pause(150);
      }
      watching[Symbol.dispose]();
    }
    expect(await systemWatches()).toBe(before);
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'FSEventWrap')).toEqual([]);
  });
});

/** How many watches of inotify this process has. */
async function systemWatches(): Promise<number> {
  let count = 0;
  for (const name of await readdir('/proc/self/fdinfo')) {
    const text = await readFile(`/proc/self/fdinfo/${name}`, 'utf8').catch(() => '');
    count += text.split('\n').filter((line) => line.startsWith('inotify ')).length;
  }
  return count;
}

test('a process that only watches ends', async () => {
  const module = JSON.stringify(new URL('../../../src/adapters/keyfile/watch-file.ts', import.meta.url).pathname);
  const program = `import { watchFile } from ${module}; watchFile(${JSON.stringify(path)}, () => {}, { pollMs: 20 });`;
  const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { timeout: 10_000 });
  expect((await run).stderr).toBe('');
});
