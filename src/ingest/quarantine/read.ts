/**
 * Mails in quarantine by the id that people know them by, and what was kept of them.
 *
 * Throws `usage` for what is no id, or names several; `not_found`; what database and disk throw.
 */

import { Failure, isFailure } from '../../errors.ts';
import { type HeaderSummary, readHeaderSummary } from '../../mail/fallback-message.ts';
import { shellArgOrNotice } from '../../text/shell.ts';
import { epochText, parseEpoch } from '../folder-epoch.ts';
import type { RawLocation } from '../model.ts';
import type { RawSources } from '../ports.ts';
import type { QuarantinedMessage, QuarantineName, QuarantineStore } from '../stores.ts';

const headBytesMax = 64 * 1024;

/** The one that `id` names: one that waits, else one that was discarded. Throws `usage` when it names several. */
export async function quarantinedById(
  store: Pick<QuarantineStore, 'quarantinedByName'>,
  id: string,
): Promise<QuarantinedMessage> {
  const names = parseQuarantineId(id);
  if (names.length === 0)
    throw new Failure('usage', `${JSON.stringify(id)} is no id of a mail in quarantine`, {
      hint: 'It is NAME/UIDVALIDITY/UID, as quarantine list shows it.',
    });
  for (const name of names) {
    const waiting = await store.quarantinedByName(name, false);
    const [first, second] = waiting.length > 0 ? waiting : await store.quarantinedByName(name, true);
    if (second !== undefined)
      throw new Failure('usage', `${id} names several mails in quarantine`, {
        hint: `Give this: ${shellArgOrNotice(quarantineId(second))}`,
      });
    if (first !== undefined) return first;
  }
  const hint =
    'See which there are: ticketmaild quarantine list [--discarded]. What was taken in is in message list --mailbox NAME.';
  throw new Failure('not_found', `there is no mail ${id} in quarantine`, { hint });
}

/** From what was kept of it; null where nothing was, or where it is gone. */
export async function headerOf(
  raw: Pick<RawSources, 'read'>,
  { raw: place }: { readonly raw: RawLocation | null },
): Promise<HeaderSummary | null> {
  if (place === null) return null;
  try {
    return readHeaderSummary(await raw.read(place, headBytesMax));
  } catch (error) {
    // Segments of another host are not here.
    if (isFailure(error, 'source_missing', 'disk_failed')) return null;
    throw error;
  }
}

/**
 * Names of mails in quarantine: `NAME/UIDVALIDITY/UID`, where `UIDVALIDITY.LIFE` is a folder that was set back; and
 * `NAME/UID` where that is enough. A mailbox name may have slashes itself.
 */

export function quarantineId({
  mailbox,
  folderEpoch,
  uid,
}: Pick<QuarantinedMessage, 'mailbox' | 'folderEpoch' | 'uid'>): string {
  return `${mailbox}/${epochText(folderEpoch)}/${uid}`;
}

/** All that `id` may name, the longer form first; none for what is no id. */
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
