/**
 * Mails in quarantine by the id that people know them by, and what was kept of them.
 *
 * Throws `usage` for what is no id, or names several; `not_found`; what database and disk throw.
 */
import { Failure, isFailure } from '../errors.ts';
import { type MailHead, readHead } from '../mail/mime/structured-fields.ts';
import { toldWord } from '../text/shell.ts';
import type { RawSources } from './ports.ts';
import { heldId, readHeldId } from './quarantine-id.ts';
import type { HeldMail, QuarantineStore } from './quarantine-ports.ts';
import type { RawPlace } from './rows.ts';

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
