/**
 * Tells each change of one file, at once by events of its folder, and by a slow look where events fail.
 *
 * The folder is watched, not the file, so a file that is replaced, or removed and made again, is still followed. A folder
 * that is replaced, or comes back, is watched anew; while it is missing it is looked for ten times a second. Nothing
 * here throws: what cannot be looked at is a state like another. The timers keep no process alive.
 */
import { type FSWatcher, lstatSync, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { causeCode } from '../../errors.ts';
import { identityOf } from './small-file.ts';

/** As `watch` of node:fs. */
export type StartEvents = (
  folder: string,
  options: { persistent: false },
  onEvent: (kind: string, name: string | null) => void,
) => FSWatcher;

/** Several events of one change become one call. */
const gatherMs = 20;
const missingFolderMs = 100;

/** Calls `onChange` after each change of the file at `path`; looks every `pollMs` in any case. */
export function watchFile(
  path: string,
  onChange: () => void,
  options: { readonly pollMs: number; readonly startEvents?: StartEvents },
): Disposable {
  let seen = fileIdentity(path);
  let gathering: NodeJS.Timeout | undefined;
  let waiting: NodeJS.Timeout | undefined;
  const tellSoon = (): void => {
    gathering ??= setTimeout(() => {
      gathering = undefined;
      seen = fileIdentity(path);
      onChange();
    }, gatherMs).unref();
  };
  const look = (): void => {
    clearTimeout(waiting);
    const isThere = events.follow();
    if (fileIdentity(path) !== seen) tellSoon();
    waiting = setTimeout(look, isThere ? options.pollMs : Math.min(missingFolderMs, options.pollMs)).unref();
  };
  const events = folderEvents(path, options.startEvents ?? watch, { onFile: tellSoon, onFolder: look });
  look();
  return {
    [Symbol.dispose]: () => {
      events.stop();
      clearTimeout(gathering);
      clearTimeout(waiting);
    },
  };
}

type FolderEvents = {
  /** Watches the folder that is there now; false when there is none. */
  follow(): boolean;
  stop(): void;
};

function folderEvents(
  path: string,
  start: StartEvents,
  { onFile, onFolder }: { readonly onFile: () => void; readonly onFolder: () => void },
): FolderEvents {
  const folder = dirname(path);
  let watcher: FSWatcher | null = null;
  let watched = '';
  const stop = (): void => {
    watcher?.close();
    watcher = null;
  };
  const onEvent = (kind: string, name: string | null): void => {
    if (watcher === null) return;
    if (name === null || name === basename(path)) onFile();
    // The folder tells of itself by its own name. A new one may have the number of the old one, so it is left in any case.
    if (name !== basename(folder)) return;
    if (kind === 'rename') stop();
    onFolder();
  };
  const follow = (): boolean => {
    const now = folderIdentity(folder);
    if (watcher !== null && now === watched) return true;
    stop();
    if (now === null) return false;
    watcher = startQuietly(() => start(folder, { persistent: false }, onEvent), stop);
    watched = now;
    return true;
  };
  return { follow, stop };
}

/** null when there are no events to be had, as when the system's limit of watches is used up: the slow look remains. */
function startQuietly(start: () => FSWatcher, onBroken: () => void): FSWatcher | null {
  try {
    return start().on('error', onBroken);
  } catch (error) {
    if (/^E[A-Z]+$/.test(causeCode(error))) return null;
    throw error;
  }
}

/** What is there, or why it cannot be looked at. */
function fileIdentity(path: string): string {
  try {
    return identityOf(lstatSync(path, { bigint: true }));
  } catch (error) {
    return causeCode(error);
  }
}

/** With the time at which it was made, because its number may be that of one that was removed. null: it is missing. */
function folderIdentity(folder: string): string | null {
  try {
    const { dev, ino, birthtimeNs } = statSync(folder, { bigint: true });
    return [dev, ino, birthtimeNs].join(':');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'EIO', 'ESTALE'].includes(causeCode(error))) return null;
    throw error;
  }
}
