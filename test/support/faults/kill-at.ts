/**
 * A preload that counts the outside effects of a process and kills it (SIGKILL) just before the n-th of them.
 *
 * KILL_AT=7 node --import ./test/support/faults/kill-at.ts src/ticketmaild.js COMMAND
 *
 * Effects are what changes a file or a name of one, what goes out on a network socket, and what SQLite is asked to do;
 * each call counts once, whatever Node does inside of it. KILL_AT=0, or a number that is never reached, kills nothing.
 * The number of effects is written to the file that KILL_COUNT_FILE names, if any, when the process ends unkilled.
 * What goes to standard output or error is no effect.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { isMainThread } from 'node:worker_threads';

type Callable = (this: unknown, ...args: unknown[]) => unknown;

const writeFileSync = fs.writeFileSync;
const killAt = Number(process.env['KILL_AT'] ?? '0');
const countFile = process.env['KILL_COUNT_FILE'];
let effects = 0;
/** Node calls some of these functions from others of them: that is one effect. */
let isInside = false;

function beforeEffect(): void {
  effects += 1;
  if (effects === killAt) process.kill(process.pid, 'SIGKILL');
}

/** Puts the counting before the methods `names` of `owner`, as far as it has them. */
function watch(owner: object, names: readonly string[], isEffect: (self: unknown, args: unknown[]) => boolean): void {
  const methods = owner as Record<string, unknown>;
  for (const name of names) {
    const original = methods[name];
    if (typeof original !== 'function') throw new Error(`Node has no ${name} any more: correct kill-at.ts`);
    const counted: Callable = function (...args) {
      if (isInside || !isEffect(this, args)) return Reflect.apply(original as Callable, this, args);
      beforeEffect();
      isInside = true;
      try {
        return Reflect.apply(original as Callable, this, args);
      } finally {
        isInside = false;
      }
    };
    methods[name] = counted;
  }
}

const always = (): boolean => true;

/** Opened to be read alone: no effect. */
function opensForWriting(_self: unknown, [, flags]: unknown[]): boolean {
  if (typeof flags === 'number')
    return (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR | fs.constants.O_CREAT)) !== 0;
  return typeof flags === 'string' && !['r', 'rs', 'sr'].includes(flags);
}

const ofPaths = ['rename', 'link', 'symlink', 'unlink', 'rm', 'rmdir', 'mkdir', 'mkdtemp', 'copyFile', 'cp'];
const ofContent = ['writeFile', 'appendFile', 'truncate', 'chmod', 'chown', 'utimes'];
const ofDescriptors = ['write', 'writev', 'fsync', 'fdatasync', 'ftruncate', 'fchmod', 'fchown', 'futimes'];
const ofHandles = [
  'write',
  'writev',
  'writeFile',
  'appendFile',
  'sync',
  'datasync',
  'truncate',
  'chmod',
  'chown',
  'utimes',
];

/** Descriptors 1 and 2 are for people. */
const isNoOutput = (_self: unknown, [descriptor]: unknown[]): boolean => descriptor !== 1 && descriptor !== 2;

async function watchFiles(): Promise<void> {
  const handle = await fs.promises.open(process.execPath, 'r');
  watch(Object.getPrototypeOf(handle), ofHandles, always);
  await handle.close();
  watch(fs.promises, [...ofPaths, ...ofContent], always);
  watch(fs.promises, ['open'], opensForWriting);
  const both = (names: readonly string[]) => names.flatMap((name) => [name, `${name}Sync`]);
  watch(fs, both([...ofPaths, ...ofContent]), isNoOutput);
  watch(fs, both(ofDescriptors), isNoOutput);
  watch(fs, both(['open']), opensForWriting);
}

function watchSockets(): void {
  const isNetwork = (self: unknown): boolean => self !== process.stdout && self !== process.stderr;
  watch(net.Socket.prototype, ['_write', '_writev'], isNetwork);
}

function watchSqlite(): void {
  watch(DatabaseSync.prototype, ['exec'], always);
  watch(StatementSync.prototype, ['run', 'all', 'get', 'iterate'], always);
}

if (isMainThread) {
  await watchFiles();
  watchSockets();
  watchSqlite();
  syncBuiltinESMExports();
  process.once('exit', () => {
    if (countFile !== undefined) writeFileSync(countFile, `${effects}\n`);
  });
}
