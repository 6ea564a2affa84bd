/**
 * Quarantine ids, and the lookup of a quarantined message by one: `MAILBOX/UIDVALIDITY/UID`.
 *
 * `UIDVALIDITY.GENERATION` names a folder that was restored from a backup (folder-epoch.ts); `MAILBOX/UID` is accepted
 * where it is unambiguous. A mailbox name may contain slashes.
 */
import { Failure, isFailure } from '../../errors.ts';
import { type HeaderSummary, readHeaderSummary } from '../../mail/fallback-message.ts';
import { shellArgOrNotice } from '../../text/shell.ts';
import { epochText, parseEpoch } from '../folder-epoch.ts';
import type { StoredSource } from '../model.ts';
import type { RawSources } from '../ports.ts';
import type { QuarantinedMessage, QuarantineName, QuarantineStore } from '../stores.ts';

export function quarantineId({
  mailbox,
  folderEpoch,
  uid,
}: Pick<QuarantinedMessage, 'mailbox' | 'folderEpoch' | 'uid'>): string {
  return `${mailbox}/${epochText(folderEpoch)}/${uid}`;
}

/** Everything that `id` may name, the longer form first; empty when it is no id. */
export function parseQuarantineId(id: string): readonly QuarantineName[] {
  const parts = id.split('/');
  const last = parts.at(-1) ?? '';
  if (!/^[1-9]\d{0,9}$/u.test(last)) return [];
  const uid = Number(last);
  const folderEpoch = parseEpoch(parts.at(-2) ?? '');
  const long = folderEpoch === null ? [] : [{ mailbox: parts.slice(0, -2).join('/'), folderEpoch, uid }];
  return [...long, { mailbox: parts.slice(0, -1).join('/'), folderEpoch: null, uid }].filter(
    ({ mailbox }) => mailbox !== '',
  );
}

/**
 * The message that `id` names: one that waits, else one that was discarded. Throws `usage` when it is no id or
 * ambiguous, `not_found`, and what the database throws.
 */
export async function quarantinedById(
  store: Pick<QuarantineStore, 'quarantinedByName'>,
  id: string,
): Promise<QuarantinedMessage> {
  const names = parseQuarantineId(id);
  if (names.length === 0)
    throw new Failure('usage', `${JSON.stringify(id)} is not the id of a quarantined message`, {
      hint: 'It is NAME/UIDVALIDITY/UID, as quarantine list shows it.',
    });
  for (const name of names) {
    const waiting = await store.quarantinedByName(name, false);
    const [first, second] = waiting.length > 0 ? waiting : await store.quarantinedByName(name, true);
    if (second !== undefined)
      throw new Failure('usage', `${id} is ambiguous: several quarantined messages have this UID`, {
        hint: `Use the full id, for example: ${shellArgOrNotice(quarantineId(second))}`,
      });
    if (first !== undefined) return first;
  }
  const hint =
    'List them: ticketmaild quarantine list [--discarded]. Released messages are in message list --mailbox NAME.';
  throw new Failure('not_found', `there is no message ${id} in quarantine`, {
    fields: { mailbox: names[0]?.mailbox ?? '' },
    hint,
  });
}

const headerBytesMax = 64 * 1024;

/** The header fields of a stored source; null when nothing was stored, and when it is gone or refused. */
export async function headerOf(
  raw: Pick<RawSources, 'read'>,
  { raw: source }: { readonly raw: StoredSource | null },
): Promise<HeaderSummary | null> {
  if (source === null) return null;
  try {
    return readHeaderSummary(await raw.read(source, headerBytesMax));
  } catch (error) {
    // The segment may be on another host.
    if (isFailure(error, 'source_missing', 'source_refused', 'disk_failed')) return null;
    throw error;
  }
}
