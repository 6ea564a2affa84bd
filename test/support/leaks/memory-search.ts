/**
 * Finds a canary in the memory of a running process, or in a core file of one. Linux alone.
 *
 * The process is stopped (SIGSTOP), every readable mapping of it is read through /proc/PID/mem, and it continues
 * (SIGCONT). Pages that it never touched are known to hold nothing and are passed over (/proc/PID/pagemap). It refuses
 * to search the process that searches, which holds the canary. Without the right to trace the process it throws one
 * sentence. What the kernel does not hand out is counted, not silently left out.
 *
 * node test/support/leaks/memory-search.ts PID < CANARY
 */
import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { causeCode } from '../../../src/errors.ts';
import { findProgram, runProgram } from '../servers/programs.ts';
import { countForms, type FormCount } from './form-search.ts';

/**
 * Options of Node for a process of which gcore is to write a core: without them WebAssembly, which strips the types
 * from our sources, reserves 8 GB that hold nothing, and gcore writes all of them.
 */
export const smallCore = ['--disable-wasm-trap-handler', '--wasm-max-mem-pages=1024'] as const;

/** `where`: `[heap]`, `[stack]`, `anonymous`, the path of a mapped file, or `core`. */
export type Hit = FormCount & { readonly where: string };

export type Hits = {
  readonly hits: readonly Hit[];
  readonly searchedBytes: number;
  /** In mappings that say they can be read: pages beyond the end of a mapped file. */
  readonly unreadBytes: number;
  /** How long the process stood still; 0 for a core file. */
  readonly pauseMs: number;
};

type Mapping = { readonly start: number; readonly end: number; readonly isShared: boolean; readonly where: string };
type Run = { readonly start: number; readonly end: number };

const pageBytes = 4096;
/** Of /proc/PID/pagemap, for each page. */
const entryBytes = 8;
/** One read over a short gap is cheaper than two. */
const gapBytesMax = 16 * pageBytes;
const stopTimeoutMs = 5000;
/** Anonymous memory, ELF headers and huge pages: the kernel's own default. */
const usualFilter = '0x33';
/** The kernel's own pages, the same for every process. */
const notOfTheProcess = new Set(['[vvar]', '[vsyscall]', '[vvar_vclock]']);

/** Stops process `pid`, searches all of its memory and lets it continue. */
export async function searchMemory(pid: number, canary: Uint8Array): Promise<Hits> {
  if (pid === process.pid) throw new Error('a process cannot search its own memory: it holds what it looks for');
  await using memory = await openOf(pid, 'mem');
  await using pagemap = await openOf(pid, 'pagemap');
  const startedAtMs = performance.now();
  process.kill(pid, 'SIGSTOP');
  try {
    await untilStopped(pid);
    const found: Omit<Hits, 'pauseMs'>[] = [];
    for (const mapping of parseMappings(await readFile(`/proc/${pid}/maps`, 'utf8'))) {
      for (const run of await touchedRuns(pagemap, mapping)) found.push(await searchRun(memory, run, mapping, canary));
    }
    return {
      hits: joined(found.flatMap(({ hits }) => hits)),
      searchedBytes: found.reduce((sum, { searchedBytes }) => sum + searchedBytes, 0),
      unreadBytes: found.reduce((sum, { unreadBytes }) => sum + unreadBytes, 0),
      pauseMs: performance.now() - startedAtMs,
    };
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

async function openOf(pid: number, file: 'mem' | 'pagemap'): Promise<FileHandle> {
  try {
    return await open(`/proc/${pid}/${file}`);
  } catch (error) {
    if (causeCode(error) === 'ENOENT') throw new Error(`there is no process ${pid}`, { cause: error });
    if (!['EACCES', 'EPERM'].includes(causeCode(error))) throw error;
    const needed = 'it takes root; the program under test lets no other user in';
    throw new Error(`the memory of process ${pid} cannot be read: ${needed}`, { cause: error });
  }
}

/** Every thread stands still once the first one does: a stop is for the whole process. */
async function untilStopped(pid: number): Promise<void> {
  const deadlineMs = performance.now() + stopTimeoutMs;
  while (performance.now() < deadlineMs) {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    if (/^[Tt] /.test(stat.slice(stat.lastIndexOf(')') + 2))) return;
    await sleep(2);
  }
  throw new Error(`process ${pid} did not stop within ${stopTimeoutMs} ms`);
}

/** The readable mappings in the text of /proc/PID/maps (proc_pid_maps(5)). */
export function parseMappings(maps: string): readonly Mapping[] {
  const lines = maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)$/gm);
  return [...lines]
    .filter(([, , , rights = '', name = '']) => rights.startsWith('r') && !notOfTheProcess.has(name))
    .map(([, start = '', end = '', rights = '', name = '']) => ({
      start: Number.parseInt(start, 16),
      end: Number.parseInt(end, 16),
      isShared: rights.endsWith('s'),
      where: name === '' || name.startsWith('[anon') ? 'anonymous' : name,
    }));
}

/**
 * Stretches with pages that are in memory or swapped out. All others of a private mapping are zeros, or the mapped file
 * as it is on the disk; those of a shared one may have been written by another process.
 */
async function touchedRuns(pagemap: FileHandle, { start, end, isShared }: Mapping): Promise<readonly Run[]> {
  if (isShared) return [{ start, end }];
  const entries = Buffer.alloc(((end - start) / pageBytes) * entryBytes);
  const { bytesRead } = await pagemap.read(entries, 0, entries.length, (start / pageBytes) * entryBytes);
  if (bytesRead !== entries.length) throw new Error('the kernel tells too little about the pages of the process');
  const runs: { start: number; end: number }[] = [];
  for (let page = 0; page * entryBytes < entries.length; page += 1) {
    // Bit 63: in memory; bit 62: swapped out. Entries are little-endian on every machine that Node runs on.
    if (((entries[page * entryBytes + entryBytes - 1] ?? 0) & 0b1100_0000) === 0) continue;
    const at = start + page * pageBytes;
    const last = runs.at(-1);
    if (last !== undefined && at - last.end <= gapBytesMax) last.end = at + pageBytes;
    else runs.push({ start: at, end: at + pageBytes });
  }
  return runs;
}

async function searchRun(
  memory: FileHandle,
  { start, end }: Run,
  { where }: Mapping,
  canary: Uint8Array,
): Promise<Omit<Hits, 'pauseMs'>> {
  let unreadBytes = 0;
  const read = async (target: Buffer, offset: number): Promise<number> => {
    const whole = await readSome(memory, target, start + offset);
    if (whole > 0) return whole;
    // Something in this stretch cannot be read: then as much as there is, and a page of zeros for what is not.
    const page = target.subarray(0, pageBytes - (offset % pageBytes));
    const got = await readSome(memory, page, start + offset);
    if (got > 0) return got;
    unreadBytes += page.length;
    page.fill(0);
    return page.length;
  };
  const counts = await countForms(canary, read, end - start);
  const hits = counts.map((count) => ({ ...count, where }));
  return { hits, searchedBytes: end - start - unreadBytes, unreadBytes };
}

/** The bytes read; 0 when the kernel refuses. */
async function readSome(memory: FileHandle, target: Buffer, address: number): Promise<number> {
  try {
    return (await memory.read(target, 0, target.length, address)).bytesRead;
  } catch (error) {
    if (['EIO', 'EFAULT'].includes(causeCode(error))) return 0;
    throw error;
  }
}

function joined(hits: readonly Hit[]): readonly Hit[] {
  const groups = Map.groupBy(hits, ({ form, whole, where }) => `${form} ${whole} ${where}`);
  return [...groups.values()].flatMap(([first, ...others]) =>
    first === undefined ? [] : [{ ...first, count: others.reduce((sum, { count }) => sum + count, first.count) }],
  );
}

/** All hits together. */
export function hitCount({ hits }: Pick<Hits, 'hits'>): number {
  return hits.reduce((sum, { count }) => sum + count, 0);
}

/** Searches a core file, or any other file, from its first byte to its last. */
export async function searchCore(path: string, canary: Uint8Array): Promise<Hits> {
  await using file = await open(path);
  const { size } = await file.stat();
  const read = async (target: Buffer, offset: number) => (await file.read(target, 0, target.length, offset)).bytesRead;
  const counts = await countForms(canary, read, size);
  const hits = counts.map((count) => ({ ...count, where: 'core' }));
  return { hits, searchedBytes: size, unreadBytes: 0, pauseMs: 0 };
}

/**
 * Writes a core file of a running process into `folder`, with gdb's gcore; null where that is not installed. The
 * program under test keeps its memory out of a dump (core(5), coredump_filter): `whole` undoes that, as root may.
 */
export async function gcore(pid: number, folder: string, { whole = true } = {}): Promise<string | null> {
  if (findProgram('gcore') === null) return null;
  if (whole) await writeFile(`/proc/${pid}/coredump_filter`, usualFilter);
  await runProgram('gcore', ['-o', join(folder, 'core'), `${pid}`]);
  return join(folder, `core.${pid}`);
}

if (import.meta.main) {
  const hits = await searchMemory(Number(process.argv[2]), await buffer(process.stdin));
  process.stdout.write(`${JSON.stringify(hits)}\n`);
  process.exitCode = hitCount(hits) === 0 ? 0 : 1;
}
