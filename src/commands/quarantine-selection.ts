/**
 * Which mails in quarantine a command is about: ids, or all of a mailbox, a reason, a sender.
 *
 * A command that changes something refuses to be called without any of them. Throws `usage`, `not_found`.
 */
import type { App } from '../compose/compose.ts';
import { Failure } from '../errors.ts';
import { headOf, heldById } from '../ingest/quarantine/read.ts';
import { knownReasons } from '../ingest/quarantine/reasons.ts';
import type { HeldMail } from '../ingest/stores.ts';
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
    for (const id of new Set(ids)) yield await heldById(app.store, id);
    return;
  }
  const mailboxId = mailbox === undefined ? null : (await app.store.mailboxByName(mailbox)).id;
  const address = sender?.trim().toLowerCase();
  await assertReason(app, reason);
  const filter = { mailboxId, reason: reason ?? null, discarded: options.discarded === true };
  for await (const mail of app.store.heldMails(filter)) {
    if (address === undefined || (await headOf(app.raw, mail))?.address === address) yield mail;
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
