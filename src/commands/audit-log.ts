/**
 * Audit log viewer: `encryption log`, `quarantine log` and `admin log` list who changed what, newest first.
 */

import type { StoredAuditEntry } from '../encryption/ports.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { type Context, withApp } from './context.ts';
import { keyIdsText, printList, type TableColumn } from './output.ts';
import { type LimitOptions, noteLimit, readLimit } from './row-limit.ts';

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
  const limit = readLimit(options);
  return await withApp(options, context, async ({ store }) => {
    const view = { columns: columns(topic), json: entryJson, whenEmpty };
    const count = await printList(await store.readAudit(limit, topic), view, options, context);
    noteLimit(options, count, context.terminal);
    return 0;
  });
}

const keyColumn: TableColumn<StoredAuditEntry> = {
  title: 'KEY',
  shrinks: true,
  drops: 1,
  cell: ({ keyId, nextKeyId }) => keyIdsText(keyId, nextKeyId),
};

/** Only changes of encryption name a key. */
function columns(topic: AuditLogView['topic']): readonly TableColumn<StoredAuditEntry>[] {
  return [
    { title: 'WHEN (UTC)', cell: ({ atMs }) => shortTime(atMs) },
    { title: 'WHO', shrinks: true, cell: ({ who }) => who },
    { title: 'WHAT', cell: ({ action }) => action },
    ...(topic === undefined ? [keyColumn] : []),
    { title: 'DETAIL', shrinks: true, main: true, cell: ({ detail }) => detail ?? '' },
  ];
}

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
