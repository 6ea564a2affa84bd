/**
 * `encryption log`: what was changed about keys, sealed passwords and the switch, by whom, the newest first.
 */

import type { StoredAudit } from '../encryption/ports.ts';
import { Failure } from '../errors.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';

const encryptionLogColumns = [
  { title: 'WHEN (UTC)' },
  { title: 'WHO', shrinks: true },
  { title: 'WHAT' },
  { title: 'KEY' },
  { title: 'DETAIL', shrinks: true },
];

const limitForPeople = 50;
const limitMax = 2_147_483_647;

/** Scripts (`--json`) get all of it, people the newest, unless told a limit. Throws `usage`. */
export async function listAudit(options: CommonOptions & { limit?: string }, context: Context): Promise<number> {
  const { terminal } = context;
  const limit = limitOf(options);
  return await withApp(options, context, async (app) => {
    const rows = await app.store.readAudit(limit);
    if (options.json === true) for (const row of rows) await terminal.json(rowJson(row));
    else if (rows.length === 0) terminal.note('Nothing was changed yet.');
    else await terminal.table(encryptionLogColumns, rows.map(encryptionLogCells));
    const more = options.json !== true && options.limit === undefined && rows.length === limit;
    if (more) terminal.note(`These are the newest ${limit}; --limit shows more.`);
    return 0;
  });
}

/** Scripts get all, people the newest, unless told. Throws `usage`. */
export function limitOf({ limit, json }: CommonOptions & { readonly limit?: string }): number {
  return readLimit(limit) ?? (json === true ? limitMax : limitForPeople);
}

function readLimit(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new Failure('usage', `--limit must be a whole number from 1 to 999999999, not ${JSON.stringify(text)}`);
}

/** The field names are a promise to scripts. */
export function rowJson(row: StoredAudit): Record<string, unknown> {
  return {
    at: isoTime(row.atMs),
    who: row.who,
    host: row.host,
    action: row.action,
    key_id: row.keyId,
    next_key_id: row.nextKeyId,
    mailbox_id: row.mailboxId,
    detail: row.detail,
  };
}

function encryptionLogCells(row: StoredAudit): readonly string[] {
  const key = [row.keyId, row.nextKeyId].filter((id) => id !== null).join(', next ');
  return [shortTime(row.atMs), row.who, row.action, key, row.detail ?? ''];
}

/**
 * `admin log`: who signed in to the admin page or was refused there, and what was changed about its accounts, the newest
 * first.
 */

const adminLogColumns = [
  { title: 'WHEN (UTC)' },
  { title: 'WHO', shrinks: true },
  { title: 'WHAT' },
  { title: 'DETAIL', shrinks: true },
];

/** Scripts (`--json`) get all of it, people the newest, unless told a limit. Throws `usage`. */
export async function listAdminLog(
  options: CommonOptions & { readonly limit?: string },
  context: Context,
): Promise<number> {
  const { terminal } = context;
  const limit = limitOf(options);
  return await withApp(options, context, async (app) => {
    const rows = await app.store.readAudit(limit, 'admin');
    if (options.json === true) for (const row of rows) await terminal.json(rowJson(row));
    else if (rows.length === 0) terminal.note('Nothing has happened about the admin page yet.');
    else await terminal.table(adminLogColumns, rows.map(adminLogCells));
    return 0;
  });
}

function adminLogCells({ atMs, who, action, detail }: StoredAudit): readonly string[] {
  return [shortTime(atMs), who, action, detail ?? ''];
}

/**
 * `quarantine log`: who took what out of quarantine, or discarded it, by a command or on the admin page.
 */

const quarantineLogColumns = [
  { title: 'WHEN (UTC)' },
  { title: 'WHO', shrinks: true },
  { title: 'WHAT' },
  { title: 'DETAIL', shrinks: true },
];

/** Scripts (`--json`) get all of it, people the newest, unless told a limit. Throws `usage`. */
export async function listQuarantineLog(
  options: CommonOptions & { limit?: string },
  context: Context,
): Promise<number> {
  const { terminal } = context;
  const limit = limitOf(options);
  return await withApp(options, context, async (app) => {
    const rows = await app.store.readAudit(limit, 'quarantine');
    if (options.json === true) for (const row of rows) await terminal.json(rowJson(row));
    else if (rows.length === 0) terminal.note('Nobody has taken anything out of quarantine yet.');
    else await terminal.table(quarantineLogColumns, rows.map(quarantineLogCells));
    return 0;
  });
}

function quarantineLogCells({ atMs, who, action, detail }: StoredAudit): readonly string[] {
  return [shortTime(atMs), who, action, detail ?? ''];
}
