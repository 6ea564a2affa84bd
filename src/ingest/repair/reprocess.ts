/**
 * Parses a stored message again, from its raw source, under the rules of today.
 *
 * Text, kind, marks, headers and attachments are brought up to date in one transaction. A message that was only recorded
 * joins the ticket that it belongs to, or opens one, where today's rules say so; one that has a ticket stays there. The row
 * stays the same row, so nothing can be there twice, however often it is done. Throws what database and disk throw.
 */
import { isFailure } from '../../errors.ts';
import { recognised } from '../../mail/fingerprint.ts';
import type { ParsedMessage } from '../../mail/message.ts';
import { makerOf } from '../decide/batch-context.ts';
import { type Decision, decide } from '../decide/decide.ts';
import { questionOf } from '../decide/lookup.ts';
import type { Kept } from '../fetch/store-files.ts';
import type { PollPorts, PollSettings } from '../poll/poll-context.ts';
import type { MailboxStore, Replacement, ReplayStore, StoredMail } from '../stores.ts';

export type Replayed =
  /** `ref`: of the ticket that it has joined or opened by that. */
  | {
      readonly what: 'replayed';
      readonly changed: readonly string[];
      readonly ref: string | null;
      readonly outcome: 'ticket_opened' | 'reply_added' | null;
    }
  /** It cannot be parsed now, and stays as it is. */
  | { readonly what: 'failed'; readonly reason: string }
  | { readonly what: 'source_gone' };

export type ReplayPorts = Pick<PollPorts, 'digester' | 'blobs' | 'raw' | 'clock' | 'newId' | 'newRef'> & {
  readonly store: PollPorts['store'] & ReplayStore & Pick<MailboxStore, 'mailboxById'>;
};

const conflictsMax = 4;

/** `id` is that of the message row. Throws `not_found`. */
export async function replayMessage(
  id: string,
  ports: ReplayPorts,
  settings: Pick<PollSettings, 'desk'>,
): Promise<Replayed> {
  const mail = await ports.store.storedMail(id);
  const source = await sourceOf(mail, ports);
  if (source === null) return { what: 'source_gone' };
  const digested = await ports.digester.digest(source, mail.mailboxId);
  if (!digested.ok) return { what: 'failed', reason: digested.reason };
  const { parsed } = digested;
  await ports.blobs.write(parsed.attachments);
  return await replace(mail, parsed, ports, settings, conflictsMax);
}

async function sourceOf({ source }: StoredMail, { raw }: ReplayPorts): Promise<Uint8Array | null> {
  if (source === null) return null;
  try {
    return await raw.read(source.raw);
  } catch (error) {
    if (isFailure(error, 'source_gone')) return null;
    throw error;
  }
}

async function replace(
  mail: StoredMail,
  parsed: ParsedMessage,
  ports: ReplayPorts,
  settings: Pick<PollSettings, 'desk'>,
  triesLeft: number,
): Promise<Replayed> {
  const decision = isOnlyRecorded(mail) ? await decideAgain(mail, parsed, ports, settings) : null;
  try {
    const changed = await ports.store.replaceMessage(mail, { parsed, joined: joinedBy(decision, mail) });
    const outcome = decision?.outcome.outcome;
    const isIn = outcome === 'ticket_opened' || outcome === 'reply_added';
    return { what: 'replayed', changed, ref: isIn ? (decision?.ref ?? null) : null, outcome: isIn ? outcome : null };
  } catch (error) {
    if (!isFailure(error, 'database_conflict') || triesLeft <= 1) throw error;
    return await replace(await ports.store.storedMail(mail.id), parsed, ports, settings, triesLeft - 1);
  }
}

function isOnlyRecorded({ ticketId, source }: StoredMail): boolean {
  return ticketId === null && source?.outcome === 'recorded';
}

/** As if it had just come, and were not here yet. Guards against loops had their say when it came. null: no ticket. */
async function decideAgain(
  mail: StoredMail,
  parsed: ParsedMessage,
  ports: ReplayPorts,
  settings: Pick<PollSettings, 'desk'>,
): Promise<Decision | null> {
  const mailbox = await ports.store.mailboxById(mail.mailboxId);
  if (mailbox === null || mail.source === null) return null;
  const { uid, sizeBytes, raw } = mail.source;
  const arrival: Kept = { what: 'mail', uid, sizeBytes, receivedAtMs: mail.receivedAtMs, ...recognised(parsed), raw };
  const maker = makerOf(mailbox, ports, settings.desk, true);
  const known = await ports.store.lookUp(questionOf([arrival], maker));
  const others = known.messages.filter(({ id }) => id !== mail.id);
  const [decision] = decide([arrival], { ...known, messages: others, handled: [] }, maker);
  if (decision === undefined || decision.message?.ticketId === null) return null;
  const { outcome } = decision.outcome;
  return outcome === 'ticket_opened' || outcome === 'reply_added' ? decision : null;
}

function joinedBy(decision: Decision | null, { id }: StoredMail): Replacement['joined'] {
  if (decision === null || decision.message === null) return null;
  const { ticket, message, outcome, links, merges, answered } = decision;
  return {
    tickets: ticket === null ? [] : [ticket],
    messages: [{ ...message, id }],
    outcomes: [{ ...outcome, messageId: id }],
    ...{ links, merges },
    answered: answered === null ? [] : [answered],
  };
}
