/**
 * `key show`: fingerprints and state of the key file, from the file alone; never a byte of a key.
 */
import { lstat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import type { App } from '../compose/compose.ts';
import type { KeyFileReading } from '../encryption/ports.ts';
import { causeCode } from '../errors.ts';
import { keyIds } from '../secret/key.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';

type Shown = {
  readonly path: string;
  readonly state: 'absent' | 'ok' | 'refused';
  /** null: they cannot be known. */
  readonly key_ids: readonly string[] | null;
  readonly protected: boolean | null;
  readonly owner: string | null;
  /** As `0600`. */
  readonly mode: string | null;
  readonly problem: { readonly code: string; readonly message: string; readonly hint: string } | null;
};

/** Exit code 0 also for a key file that is absent or refused: that is shown. */
export async function showKey(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const shown = await look(app);
    if (options.json === true) await terminal.json(shown);
    else for (const line of lines(shown)) await terminal.line(line);
    if (shown.problem !== null && options.json !== true) {
      await terminal.line(`problem    ${shown.problem.message}`, 'red');
      await terminal.line(`hint       ${shown.problem.hint}`);
    }
    return 0;
  });
}

async function look({ keyFile }: App): Promise<Shown> {
  const reading = await keyFile.read();
  const failure = reading.kind === 'refused' ? reading.failure : null;
  return {
    path: keyFile.path,
    state: reading.kind === 'keys' ? 'ok' : reading.kind,
    key_ids: reading.kind === 'keys' ? keyIds(reading.keys) : reading.kind === 'absent' ? [] : null,
    protected: isProtected(reading),
    ...(await ownership(keyFile.path)),
    problem: failure && { code: failure.code, message: failure.message, hint: failure.hint },
  };
}

function isProtected(reading: KeyFileReading): boolean | null {
  if (reading.kind === 'keys') return reading.wrapped !== null;
  return reading.kind === 'refused' && reading.failure.code === 'key_file_locked' ? true : null;
}

async function ownership(path: string): Promise<Pick<Shown, 'owner' | 'mode'>> {
  try {
    const { uid, mode } = await lstat(path);
    return { owner: ownerName(uid), mode: (mode & 0o7777).toString(8).padStart(4, '0') };
  } catch (error) {
    if (causeCode(error).startsWith('E')) return { owner: null, mode: null };
    throw error;
  }
}

function ownerName(uid: number): string {
  if (uid === 0) return 'root';
  return uid === process.getuid?.() ? userInfo().username : `uid ${uid}`;
}

function lines({ path, state, key_ids: ids, protected: isLocked, owner, mode }: Shown): readonly string[] {
  if (state === 'absent') return [`key file   none at ${path}`];
  const words = isLocked === null ? [] : [`protected  ${isLocked ? 'by a passphrase' : 'no: bare keys'}`];
  return [
    `key file   ${path}`,
    ...(ids ?? ['unknown']).map((id) => `key        ${id}`),
    ...words,
    `owner      ${owner ?? 'unknown'}`,
    `mode       ${mode ?? 'unknown'}`,
  ];
}
