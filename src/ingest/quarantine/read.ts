/**
 * Mails in quarantine by the id that people know them by, and what was kept of them.
 *
 * Throws `usage` for what is no id, or names several; `not_found`; what database and disk throw.
 */

import { Failure, isFailure } from '../../errors.ts';
import { type MailHead, readHead } from '../../mail/mime/structured-fields.ts';
import { toldWord } from '../../text/shell.ts';
import { numberingText, readNumbering } from '../folder-epoch.ts';
import type { RawPlace } from '../model.ts';
import type { RawSources } from '../ports.ts';
import type { HeldMail, HeldName, QuarantineStore } from '../stores.ts';

const headBytesMax = 64 * 1024;

/** The one that `id` names: one that waits, else one that was discarded. Throws `usage` when it names several. */
export async function heldById(store: Pick<QuarantineStore, 'heldNamed'>, id: string): Promise<HeldMail> {
  const names = readHeldId(id);
  if (names.length === 0)
    throw new Failure('usage', `${JSON.stringify(id)} is no id of a mail in quarantine`, {
      hint: 'It is NAME/UIDVALIDITY/UID, as quarantine list shows it.',
    });
  for (const name of names) {
    const waiting = await store.heldNamed(name, false);
    const [first, second] = waiting.length > 0 ? waiting : await store.heldNamed(name, true);
    if (second !== undefined)
      throw new Failure('usage', `${id} names several mails in quarantine`, {
        hint: `Give this: ${toldWord(heldId(second))}`,
      });
    if (first !== undefined) return first;
  }
  const hint =
    'See which there are: ticketmaild quarantine list [--discarded]. What was taken in is in message list --mailbox NAME.';
  throw new Failure('not_found', `there is no mail ${id} in quarantine`, { hint });
}

/** From what was kept of it; null where nothing was, or where it is gone. */
export async function headOf(
  raw: Pick<RawSources, 'read'>,
  { raw: place }: { readonly raw: RawPlace | null },
): Promise<MailHead | null> {
  if (place === null) return null;
  try {
    return readHead(await raw.read(place, headBytesMax));
  } catch (error) {
    // Segments of another host are not here.
    if (isFailure(error, 'source_gone', 'disk_failed')) return null;
    throw error;
  }
}

/**
 * Names of mails in quarantine: `NAME/UIDVALIDITY/UID`, where `UIDVALIDITY.LIFE` is a folder that was set back; and
 * `NAME/UID` where that is enough. A mailbox name may have slashes itself.
 */

export function heldId({ mailbox, numbering, uid }: Pick<HeldMail, 'mailbox' | 'numbering' | 'uid'>): string {
  return `${mailbox}/${numberingText(numbering)}/${uid}`;
}

/** All that `id` may name, the longer form first; none for what is no id. */
export function readHeldId(id: string): readonly HeldName[] {
  const parts = id.split('/');
  const last = parts.at(-1) ?? '';
  if (!/^[1-9]\d{0,9}$/u.test(last)) return [];
  const uid = Number(last);
  const numbering = readNumbering(parts.at(-2) ?? '');
  const long = numbering === null ? [] : [{ mailbox: parts.slice(0, -2).join('/'), numbering, uid }];
  return [...long, { mailbox: parts.slice(0, -1).join('/'), numbering: null, uid }].filter(
    ({ mailbox }) => mailbox !== '',
  );
}
