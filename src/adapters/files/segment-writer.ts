/**
 * Appends raw sources to the segment of the day, in the storage thread; see segments.ts for what a segment is.
 *
 * Appends go one after the other, each with one write and one fdatasync. After one that failed, the file is left as it is
 * and a new one is begun; so it is when somebody took the file away, which an open file does not tell by itself. Throws what
 * the file system says.
 */
import { closeSync, fstatSync, openSync, statSync, writevSync } from 'node:fs';
import { join } from 'node:path';
import { release } from '../../async/buffer-pool.ts';
import type { AppendTask, Bytes, Start } from './storage-tasks.ts';
import { inTurn, makeFolder, quietly, syncData, syncFolders } from './sync.ts';

type Segment = { readonly name: string; readonly day: string; readonly descriptor: number; endOffset: number };

/** Segments in `folder`, which is made when the first source comes. The bytes of a task are freed. */
export function createSegmentWriter(folder: string): (task: AppendTask) => Promise<Start> {
  let current: Segment | null = null;
  const close = () => {
    const closing = current;
    current = null;
    // All that was told to be in it is on the disk.
    if (closing !== null) quietly(() => closeSync(closing.descriptor));
  };
  return inTurn(async (task) => {
    try {
      if (current?.day !== task.day || !isInPlace(folder, current)) close();
      current ??= await beginSegment(folder, task);
      const start = await write(current, task.sources);
      if (!isInPlace(folder, current)) throw Object.assign(new Error('removed meanwhile'), { code: 'ENOENT' });
      return start;
    } catch (error) {
      close();
      throw error;
    } finally {
      for (const source of task.sources) release(source);
    }
  });
}

/** Whether the name still leads to the file that is open. */
function isInPlace(folder: string, { name, descriptor }: Segment): boolean {
  const open = fstatSync(descriptor);
  const named = statSync(join(folder, name), { throwIfNoEntry: false });
  return named?.ino === open.ino && named.dev === open.dev;
}

async function beginSegment(folder: string, { day, id }: AppendTask): Promise<Segment> {
  const above = makeFolder(folder);
  const name = `${day}-${id}.zst`;
  const descriptor = openSync(join(folder, name), 'ax', 0o600);
  try {
    await syncFolders([folder, ...above]);
  } catch (error) {
    quietly(() => closeSync(descriptor));
    throw error;
  }
  return { name, day, descriptor, endOffset: 0 };
}

async function write(segment: Segment, sources: readonly Bytes[]): Promise<Start> {
  const start = { segment: segment.name, offset: segment.endOffset };
  const total = sources.reduce((sum, { length }) => sum + length, 0);
  // A short write is an error, because the offsets would be wrong.
  if (writevSync(segment.descriptor, sources as Bytes[]) !== total)
    throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
  for (const source of sources) release(source);
  await syncData(segment.descriptor);
  segment.endOffset += total;
  return start;
}
