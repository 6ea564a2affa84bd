/**
 * Kills `encryption enable`, `rotate` and `disable` just before each of their outside effects, one after the other,
 * runs the same command again, and checks whether everything is as if nothing had happened.
 *
 * An effect is a change of a file, a write on a socket, a statement of SQLite (kill-at.ts). Afterwards the second run
 * must have ended well, the switch say what it should, every mailbox log in, the key file be there exactly when it
 * should, and nothing unknown lie in the data folder. A failure is a line in the report, not an end of it.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { runSql } from '../../support/sql.ts';
import { twoAtOnce } from '../measure/two-at-once.ts';
import { disable, enable, rotate } from '../setting.ts';
import { type Copy, commandIn, killMailboxes, makeTemplate, type Template } from './kill-template.ts';

export type Operation = 'enable' | 'rotate' | 'disable';

export const operations: readonly Operation[] = ['enable', 'rotate', 'disable'];

export type KillReport = {
  readonly operation: Operation;
  /** Of one run that was not killed. */
  readonly effects: number;
  /** Runs that were killed. */
  readonly kills: number;
  /** Second runs after which everything was right. */
  readonly finished: number;
  /** What was wrong, each with the number of the effect before which the first run was killed. */
  readonly failed: readonly { readonly at: number; readonly why: readonly string[] }[];
  /** Temporary files that a kill left behind: the next writing removes those that are older than a minute. */
  readonly leftOvers: number;
};

export type KillOptions = {
  readonly dovecot: Dovecot;
  readonly mariadb: Mariadb | null;
  /** Every so many effects one is killed. */
  readonly stride: number;
  /** The first of them; 1 unless set otherwise. */
  readonly first?: number;
  readonly progress: (line: string) => void;
};

const preload = fileURLToPath(new URL('../../support/faults/kill-at.ts', import.meta.url));
const commands = { enable, rotate, disable } as const;
const keyBytes = 32;
/** What a key file or switch memory that is being written looks like. */
const leftOver = /^\.(encryption-key\.bin|switch-state)\.[0-9a-f]{32}\.tmp$/;
const known =
  /^(encryption-key\.bin|encryption-key\.bin\.disabled-\d{8}T\d{6}Z-[0-9a-f]{8}|switch-state|raw|blobs|control\.sock)$/;

export async function killRun(operation: Operation, options: KillOptions): Promise<KillReport> {
  const { dovecot, mariadb, stride, first = 1, progress } = options;
  await using template = await makeTemplate(dovecot, mariadb, operation !== 'enable');
  const effects = await countEffects(operation, template);
  const moments = Array.from({ length: effects }, (_, index) => first + index * stride).filter((at) => at <= effects);
  progress(`${operation}: ${effects} effects, killed before ${moments.length} of them`);
  const results = await twoAtOnce(moments, async (at) => {
    const result = await killOnce(operation, template, at);
    if (result.why.length > 0) progress(`${operation} killed before effect ${at}: ${result.why.join('; ')}`);
    return { at, ...result };
  });
  const failed = results.filter(({ why }) => why.length > 0).map(({ at, why }) => ({ at, why }));
  return {
    operation,
    effects,
    kills: results.filter(({ wasKilled }) => wasKilled).length,
    finished: results.length - failed.length,
    failed,
    leftOvers: results.reduce((sum, { leftOvers }) => sum + leftOvers, 0),
  };
}

async function countEffects(operation: Operation, template: Template): Promise<number> {
  await using copy = await template.copy();
  const countFile = join(copy.dataDir, '..', 'effects');
  const { code, stderr } = await runKilled(copy, operation, { KILL_AT: '0', KILL_COUNT_FILE: countFile });
  if (code !== 0) throw new Error(`${operation} ended with ${code} without being killed: ${stderr}`);
  return Number(await readFile(countFile, 'utf8'));
}

function runKilled(copy: Copy, operation: Operation, env: Readonly<Record<string, string>>) {
  return commandIn(copy, commands[operation], { nodeOptions: ['--import', preload], env });
}

type KillResult = { readonly wasKilled: boolean; readonly why: readonly string[]; readonly leftOvers: number };

async function killOnce(operation: Operation, template: Template, at: number): Promise<KillResult> {
  await using copy = await template.copy();
  const { code } = await runKilled(copy, operation, { KILL_AT: `${at}` });
  const wasKilled = code === 'SIGKILL';
  const again = await commandIn(copy, commands[operation]);
  const why = [
    ...(wasKilled || code === 0 ? [] : [`the first run ended with ${code}`]),
    ...(again.code === 0 ? [] : [`the second run ended with ${again.code}: ${again.stderr.trim()}`]),
    ...(await wrongStatus(copy, operation)),
    ...(await wrongLogins(copy)),
  ];
  const { unknown, leftOvers } = await filesIn(copy, operation);
  return { wasKilled, why: [...why, ...unknown], leftOvers };
}

async function wrongStatus(copy: Copy, operation: Operation): Promise<readonly string[]> {
  const { code, stdout, stderr } = await commandIn(copy, ['encryption', 'status', '--json']);
  if (code !== 0) return [`encryption status ended with ${code}: ${stderr.trim()}`];
  const status = JSON.parse(stdout);
  const sealed = operation === 'disable' ? 0 : killMailboxes;
  const wanted = {
    state: operation === 'disable' ? 'off' : 'on',
    next_key_id: null,
    sealed,
    plaintext: killMailboxes - sealed,
    waiting: 0,
    problem: null,
    stored_state: null,
  };
  const readable = await countPlaintext(copy);
  return [
    ...Object.entries(wanted)
      .filter(([name, value]) => status[name] !== value)
      .map(([name, value]) => `status says ${name} ${JSON.stringify(status[name])}, not ${JSON.stringify(value)}`),
    ...(readable === killMailboxes - sealed ? [] : [`${readable} readable passwords are in the table`]),
  ];
}

/** By their bytes, whatever the column beside them says. */
async function countPlaintext({ databaseUrl }: Copy): Promise<number> {
  const hex = Buffer.from(password).toString('hex');
  const rows = await runSql(
    databaseUrl,
    `SELECT id FROM mailboxes WHERE password_form <> 'sealed' OR password = X'${hex}'`,
  );
  return rows.length;
}

/** Every mailbox logs in, opens its folder and lists it. */
async function wrongLogins(copy: Copy): Promise<readonly string[]> {
  const { code, stdout, stderr } = await commandIn(copy, ['poll', '--json']);
  const polled = stdout.split('\n').filter((line) => line.includes('"ok":true')).length;
  return code === 0 && polled === killMailboxes
    ? []
    : [`${polled} mailboxes logged in, poll ended with ${code}: ${stderr.trim()}`];
}

async function filesIn(copy: Copy, operation: Operation): Promise<{ unknown: readonly string[]; leftOvers: number }> {
  const names = await readdir(copy.dataDir);
  const wanted = operation === 'disable' ? 0 : keyBytes;
  const size = names.includes('encryption-key.bin') ? (await stat(join(copy.dataDir, 'encryption-key.bin'))).size : 0;
  const setAside = names.filter((name) => name.startsWith('encryption-key.bin.disabled-')).length;
  const unknown = [
    ...names.filter((name) => !known.test(name) && !leftOver.test(name)).map((name) => `unknown file ${name}`),
    ...(size === wanted ? [] : [`the key file has ${size} bytes, not ${wanted}`]),
    ...(setAside === (operation === 'disable' ? 1 : 0) ? [] : [`${setAside} key files were set aside`]),
  ];
  return { unknown, leftOvers: names.filter((name) => leftOver.test(name)).length };
}
