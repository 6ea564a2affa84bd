/**
 * Which mails in quarantine a command is about: ids, or all of a mailbox, a reason, a sender.
 *
 * A command that changes something refuses to be called without any of them. Throws `usage`, `not_found`.
 */
import type { App } from '../compose.ts';
import { Failure, isFailure } from '../errors.ts';
import { heldId, readHeldId } from '../ingest/quarantine-id.ts';
import type { HeldMail } from '../ingest/quarantine-ports.ts';
import { knownReasons } from '../ingest/quarantine-reasons.ts';
import type { RawPlace } from '../ingest/rows.ts';
import { type MailHead, readHead } from '../mail/head.ts';
import type { CommonOptions } from './context.ts';

export type SelectionOptions = CommonOptions & {
  readonly ids?: readonly string[];
  readonly mailbox?: string;
  readonly reason?: string;
  readonly sender?: string;
  readonly all?: boolean;
  /** Those that were discarded, instead of those that wait. */
  readonly discarded?: boolean;
};

const headBytesMax = 64 * 1024;

/** Throws `usage` where nothing, or two things that exclude each other, were chosen. */
export function assertChosen({ ids = [], mailbox, reason, sender, all }: SelectionOptions): void {
  const isFiltered = mailbox !== undefined || reason !== undefined || sender !== undefined;
  if (ids.length > 0 && (isFiltered || all === true))
    throw new Failure('usage', 'give ids, or --mailbox, --reason, --sender and --all, not both');
  if (ids.length > 0 || isFiltered || all === true) return;
  throw new Failure('usage', 'nothing was chosen', {
    hint: 'Give the ids that quarantine list shows, or --mailbox NAME, --reason CODE, --sender ADDRESS, --all.',
  });
}

/** Those that are chosen, each once, in the order of the ids, else of mailbox and UID. */
export async function* chosenMails(app: App, options: SelectionOptions): AsyncGenerator<HeldMail> {
  const { ids = [], mailbox, reason, sender } = options;
  if (ids.length > 0) {
    for (const id of new Set(ids)) yield await heldById(app, id);
    return;
  }
  const mailboxId = mailbox === undefined ? null : (await app.store.mailboxByName(mailbox)).id;
  const address = sender?.trim().toLowerCase();
  await assertReason(app, reason);
  const filter = { mailboxId, reason: reason ?? null, discarded: options.discarded === true };
  for await (const mail of app.store.heldMails(filter)) {
    if (address === undefined || (await headOf(app, mail))?.address === address) yield mail;
  }
}

/** A code that only an older or a newer worker knows is in the table. */
async function assertReason(app: App, reason: string | undefined): Promise<void> {
  if (reason === undefined || knownReasons.includes(reason)) return;
  const { reasons } = await app.store.quarantine();
  if (reasons.some((one) => one.reason === reason)) return;
  throw new Failure('usage', `there is no reason ${JSON.stringify(reason)}`, {
    hint: `The reasons are ${knownReasons.join(', ')}.`,
  });
}

/** The one that `id` names: one that waits, else one that was discarded. Throws `usage` when it names several. */
export async function heldById(app: App, id: string): Promise<HeldMail> {
  const names = readHeldId(id);
  if (names.length === 0)
    throw new Failure('usage', `${JSON.stringify(id)} is no id of a mail in quarantine`, {
      hint: 'It is NAME/UIDVALIDITY/UID, as quarantine list shows it.',
    });
  const mailboxes = await app.store.listMailboxes();
  for (const { mailbox: name, numbering, uid } of names) {
    const mailbox = mailboxes.find((one) => one.name === name);
    const [first, second] = mailbox === undefined ? [] : await heldOf(app, mailbox.id, numbering, uid);
    if (second !== undefined)
      throw new Failure('usage', `${id} names several mails in quarantine`, { hint: `Give ${heldId(second)}.` });
    if (first !== undefined) return first;
  }
  const hint =
    'See which there are: ticketmaild quarantine list [--discarded]. What was taken in is in message list --mailbox NAME.';
  throw new Failure('not_found', `there is no mail ${id} in quarantine`, { hint });
}

async function heldOf(
  app: App,
  mailboxId: string,
  numbering: number | null,
  uid: number,
): Promise<readonly HeldMail[]> {
  const waiting = await app.store.heldMail(mailboxId, numbering, uid);
  return waiting.length > 0 ? waiting : await app.store.heldMail(mailboxId, numbering, uid, true);
}

/** From what was kept of it; null where nothing was, or where it is gone. */
export async function headOf(
  app: Pick<App, 'raw'>,
  { raw }: { readonly raw: RawPlace | null },
): Promise<MailHead | null> {
  if (raw === null) return null;
  try {
    return readHead(await app.raw.read(raw, headBytesMax));
  } catch (error) {
    // Segments of another host are not here.
    if (isFailure(error, 'source_gone', 'disk_failed')) return null;
    throw error;
  }
}
