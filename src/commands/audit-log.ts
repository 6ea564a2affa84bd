/**
 * Audit log viewer: `encryption log`, `quarantine log` and `admin log` list who changed what, newest first.
 */

import type { StoredAuditEntry } from '../encryption/ports.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { type Context, withApp } from './context.ts';
import { type LimitOptions, noteLimit, readLimit } from './limit.ts';

type AuditLogView = {
  /** Undefined: entries about keys, sealed passwords and the switch. */
  readonly topic?: 'admin' | 'quarantine';
  readonly whenEmpty: string;
};

/** Throws `usage`. */
export function listEncryptionLog(options: LimitOptions, context: Context): Promise<number> {
  return list({ whenEmpty: 'No change has been recorded yet.' }, options, context);
}

/** Throws `usage`. */
export function listQuarantineLog(options: LimitOptions, context: Context): Promise<number> {
  const whenEmpty = 'No quarantined message has been resolved yet.';
  return list({ topic: 'quarantine', whenEmpty }, options, context);
}

/** Throws `usage`. */
export function listAdminLog(options: LimitOptions, context: Context): Promise<number> {
  const whenEmpty = 'No sign-in or change of an account has been recorded yet.';
  return list({ topic: 'admin', whenEmpty }, options, context);
}

async function list({ topic, whenEmpty }: AuditLogView, options: LimitOptions, context: Context): Promise<number> {
  const { terminal } = context;
  const limit = readLimit(options);
  return await withApp(options, context, async ({ store }) => {
    const entries = await store.readAudit(limit, topic);
    if (options.json === true) for (const entry of entries) await terminal.json(entryJson(entry));
    else if (entries.length === 0) terminal.note(whenEmpty);
    else await terminal.table(columns(topic), entries.map(topic === undefined ? cellsWithKey : cells));
    noteLimit(options, entries.length, terminal);
    return 0;
  });
}

/** Only changes of encryption name a key. */
function columns(topic: AuditLogView['topic']): Parameters<Context['terminal']['table']>[0] {
  return [
    { title: 'WHEN (UTC)' },
    { title: 'WHO', shrinks: true },
    { title: 'WHAT' },
    ...(topic === undefined ? [{ title: 'KEY' }] : []),
    { title: 'DETAIL', shrinks: true },
  ];
}

function cells({ atMs, who, action, detail }: StoredAuditEntry): readonly string[] {
  return [shortTime(atMs), who, action, detail ?? ''];
}

function cellsWithKey({ atMs, who, action, keyId, nextKeyId, detail }: StoredAuditEntry): readonly string[] {
  const key = [keyId, nextKeyId].filter((id) => id !== null).join(', next ');
  return [shortTime(atMs), who, action, key, detail ?? ''];
}

/** The field names are stable for scripts. */
function entryJson(entry: StoredAuditEntry): Record<string, unknown> {
  return {
    at: isoTime(entry.atMs),
    who: entry.who,
    host: entry.host,
    action: entry.action,
    key_id: entry.keyId,
    next_key_id: entry.nextKeyId,
    mailbox_id: entry.mailboxId,
    detail: entry.detail,
  };
}
