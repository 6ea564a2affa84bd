/**
 * Counts a canary in every file of a folder and of the folders in it, by the kind of file: what a database has on its
 * disk beside what it answers.
 *
 * Kinds are derived from file names, those of MariaDB and MySQL (InnoDB) and of SQLite. A file that vanishes meanwhile
 * counts as empty; one that cannot be read throws.
 */
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { causeCode } from '../../../src/errors.ts';
import { countForms, type FormCount } from './form-search.ts';

export type FileKind = (typeof kinds)[number][0] | 'other';

export type FileHits = {
  /** From the folder that was searched. */
  readonly path: string;
  readonly kind: FileKind;
  readonly sizeBytes: number;
  /** None: an empty list. */
  readonly hits: readonly FormCount[];
};

const kinds = [
  ['table space', /\.ibd$/],
  ['system table space', /^ibdata\d+$/],
  ['undo', /^undo_?\d+(\.ibu)?$/],
  ['redo log', /^(ib_logfile\d+|#ib_redo\d+(_tmp)?)$/],
  ['doublewrite', /\.dblwr$/],
  ['binary log', /(-bin|^binlog|-relay-bin|^binary-log)\.\d{6}$/],
  ['temporary', /^(ibtmp\d+|temp_\d+\.ibt|#sql.*|.*\.(MAI|MAD|TMP|tmp))$/],
  ['Aria log', /^aria_log/],
  ['server log', /\.(log|err)$/],
  ['SQLite', /\.db$/],
  ['SQLite -wal', /\.db-wal$/],
  ['SQLite -journal', /\.db-journal$/],
  ['SQLite -shm', /\.db-shm$/],
] as const;

function kindOf(path: string): FileKind {
  return kinds.find(([, pattern]) => pattern.test(basename(path)))?.[0] ?? 'other';
}

/** One entry for each file, in the order of their paths. */
export async function searchFiles(folder: string, canary: Uint8Array): Promise<readonly FileHits[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const searched: FileHits[] = [];
  for (const path of paths.toSorted()) {
    const { sizeBytes, hits } = await searchFile(path, canary);
    searched.push({ path: path.slice(join(folder, '/').length), kind: kindOf(path), sizeBytes, hits });
  }
  return searched;
}

async function searchFile(path: string, canary: Uint8Array): Promise<Pick<FileHits, 'sizeBytes' | 'hits'>> {
  await using file = await openUnlessGone(path);
  if (file === null) return { sizeBytes: 0, hits: [] };
  const { size } = await file.stat();
  const read = async (target: Buffer, offset: number) => (await file.read(target, 0, target.length, offset)).bytesRead;
  return { sizeBytes: size, hits: await countForms(canary, read, size) };
}

async function openUnlessGone(path: string): Promise<FileHandle | null> {
  try {
    return await open(path);
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Hits of every form, whole and half ones, in the files of each kind that is there. */
export function hitsByKind(files: readonly FileHits[]): ReadonlyMap<FileKind, number> {
  const counts = new Map<FileKind, number>();
  for (const { kind, hits } of files) {
    counts.set(kind, (counts.get(kind) ?? 0) + hits.reduce((sum, { count }) => sum + count, 0));
  }
  return counts;
}
