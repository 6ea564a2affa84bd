/**
 * The time of day of a process, set by us: libfaketime follows a file. Monotonic clocks are not changed.
 *
 * The library comes with the package `faketime` of Debian; without it clocks stay right and no clock fault is made.
 */
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export type FakedClock = {
  /** Seconds that the clock is ahead of the machine's; negative: behind. */
  set(offsetS: number): Promise<void>;
  /** Runs `start` so that the processes that it starts have this clock. */
  inherited<T>(start: () => Promise<T>): Promise<T>;
};

const folders = ['/usr/lib', '/usr/lib64', '/usr/local/lib'];
const file = 'faketime/libfaketimeMT.so.1';

/** Path of the library, or null. */
export function findFaketime(): string | null {
  const below = folders.flatMap((folder) =>
    existsSync(folder)
      ? [
          folder,
          ...readdirSync(folder)
            .filter((name) => name.endsWith('-linux-gnu'))
            .map((name) => join(folder, name)),
        ]
      : [],
  );
  return below.map((folder) => join(folder, file)).find((path) => existsSync(path)) ?? null;
}

/** The environment of a process whose clock follows `clockFile`. */
export function clockVariables(library: string, clockFile: string): Readonly<Record<string, string>> {
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: clockFile,
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  };
}

export async function setClock(clockFile: string, offsetS: number): Promise<void> {
  await writeFile(clockFile, `${offsetS < 0 ? '' : '+'}${offsetS}\n`);
}

export async function createFakedClock(library: string, clockFile: string): Promise<FakedClock> {
  await setClock(clockFile, 0);
  return {
    set: (offsetS) => setClock(clockFile, offsetS),
    inherited: async (start) => {
      const variables = clockVariables(library, clockFile);
      Object.assign(process.env, variables);
      try {
        return await start();
      } finally {
        for (const name of Object.keys(variables)) delete process.env[name];
      }
    },
  };
}
