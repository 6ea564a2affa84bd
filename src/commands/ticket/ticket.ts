/**
 * Ticket commands: show, list, close and reopen tickets, and print reply tokens.
 */

import { randomBytes } from 'node:crypto';
import type { App } from '../../compose/compose.ts';
import { quoted } from '../../config/option-values.ts';
import { Failure } from '../../errors.ts';
import { generationOf, uidValidityOf } from '../../ingest/folder-epoch.ts';
import type { MessageDetails, OutcomeRow, TicketLinkView, TicketSummary } from '../../ingest/model.ts';
import type { TicketHeader } from '../../ingest/stores.ts';
import type { Bounce } from '../../mail/message.ts';
import { replyTextOf } from '../../mail/quote/quote.ts';
import { replyAddress, replyMessageId, withoutSubaddress } from '../../mail/thread/reply-token.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { isoTime, shortTime } from '../../text/time.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { printList, printResult, type TableColumn } from '../output.ts';
import { type LimitOptions, noteLimit, readLimit } from '../row-limit.ts';

type ShowOptions = CommonOptions & { readonly ref: string; readonly full?: boolean };

/**
 * Prints one ticket with its messages, oldest first: what is new in each, with `--full` also what it quotes. Throws
 * `not_found`.
 */
export async function showTicket(options: ShowOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketByRef(referenceOf(options.ref));
    if (options.json === true) {
      await terminal.json({ ...ticketJson(ticket), messages: ticket.messages.map(messageJson) });
      return 0;
    }
    await terminal.line(`${ticket.ref}  ${ticket.subject}`, 'bold');
    await terminal.line(`${ticket.status}, opened ${shortTime(ticket.createdAtMs)} by ${personText(ticket.requester)}`);
    if (ticket.mergedInto !== null) await terminal.line(`merged into ${ticket.mergedInto}`);
    for (const link of ticket.links.filter(({ reason, direction }) => reason !== 'merged' || direction === 'from'))
      await terminal.line(linkText(link));
    const numbers = attachmentNumbers(ticket.messages);
    for (const message of ticket.messages)
      await showMessage(message, { numbers, full: options.full === true }, context);
    return 0;
  });
}

/** Relation of the shown ticket to the linked one. */
const linkWords: Readonly<Record<TicketLinkView['reason'], Readonly<Record<TicketLinkView['direction'], string>>>> = {
  forward: { to: 'opened by a message forwarded from', from: 'has a message that was forwarded into' },
  mentions: { to: 'mentions', from: 'is mentioned by' },
  continues: { to: 'continues the closed', from: 'was closed, and continues as' },
  same_message: { to: 'was opened by the same message as', from: 'was opened by the same message as' },
  merged: { to: 'was merged into', from: 'absorbed' },
  same_thread: { to: 'has a message of the thread of', from: 'has a message of the thread of' },
};

function linkText({ ticket, reason, direction }: TicketLinkView): string {
  return `${linkWords[reason]?.[direction] ?? `is linked (${reason}) to`} ${ticket}`;
}

const protectionWords: Readonly<Record<string, string>> = {
  smime_signed: 'signed (S/MIME)',
  smime_encrypted: 'encrypted (S/MIME)',
  pgp_signed: 'signed (PGP)',
  pgp_encrypted: 'encrypted (PGP)',
};

type Attachment = MessageDetails['attachments'][number];

/** Attachments of all messages of a ticket, numbered from 1 as `ticket show` prints them. */
export function attachmentNumbers(messages: readonly MessageDetails[]): ReadonlyMap<Attachment, number> {
  return new Map(messages.flatMap(({ attachments }) => attachments).map((one, index) => [one, index + 1]));
}

type MessageView = { readonly numbers: ReadonlyMap<Attachment, number>; readonly full: boolean };

async function showMessage(
  message: MessageDetails,
  { numbers, full }: MessageView,
  { terminal }: Context,
): Promise<void> {
  await terminal.line('');
  const { kind, threadRule, protection } = message;
  const labels = [...(kind === 'human' ? [] : [kind]), ...(threadRule === null ? [] : [threadRule])];
  const suffix = labels.length === 0 ? '' : ` (${labels.join(', ')})`;
  await terminal.line(`${shortTime(message.receivedAtMs)}  ${personText(message.from)}${suffix}`, 'bold');
  if (message.to.length > 0) await terminal.line(`to ${message.to.map(personText).join(', ')}`);
  if (protection !== null) await terminal.line(protectionWords[protection] ?? protection);
  await terminal.line(message.subject);
  await terminal.line('');
  const whole = message.text.trimEnd();
  const text = full ? whole : replyTextOf(message.text, message.marks);
  const isEncrypted = text === '' && protection !== null && protection.endsWith('_encrypted');
  await terminal.text(isEncrypted ? '(encrypted: only its recipients can read it)' : text);
  const isShortened = text !== whole.trim() && text.length < whole.length;
  if (isShortened) await terminal.line('(without quoted text and signature; --full shows all)', 'dim');
  for (const one of message.attachments)
    await terminal.line(`attachment ${numbers.get(one)}: ${one.name} (${one.type}, ${one.sizeBytes} bytes)`);
}

const columns: readonly TableColumn<TicketSummary>[] = [
  { title: 'REF', cell: ({ ref }) => ref },
  { title: 'STATUS', cell: ({ status }) => status },
  { title: 'MESSAGES', align: 'right', drops: 1, cell: ({ messageCount }) => `${messageCount}` },
  { title: 'UPDATED (UTC)', drops: 0, cell: ({ updatedAtMs }) => shortTime(updatedAtMs) },
  { title: 'MAILBOX', shrinks: true, drops: 2, cell: ({ mailbox }) => mailbox ?? '(removed)' },
  { title: 'REQUESTER', shrinks: true, cell: ({ requester }) => personText(requester) },
  { title: 'SUBJECT', shrinks: true, main: true, cell: ({ subject }) => subject },
];

/** Newest first. Throws `usage`. */
export async function listTickets(options: LimitOptions, context: Context): Promise<number> {
  const limit = readLimit(options);
  return await withApp(options, context, async ({ store }) => {
    const view = { columns, json: ticketJson, whenEmpty: 'There is no ticket yet.' };
    const count = await printList(await store.listTickets(limit), view, options, context);
    noteLimit(options, count, context.terminal);
    return 0;
  });
}

type RefOptions = CommonOptions & { readonly ref: string };

/** A reply by a person reopens it (`[tickets] reopen_days`). Throws `not_found`, `refused`. */
export function closeTicket(options: RefOptions, context: Context): Promise<number> {
  return setTicketState(options, context, 'closed', 'closed');
}

/** Throws `not_found`, `refused`. */
export function reopenTicket(options: RefOptions, context: Context): Promise<number> {
  return setTicketState(options, context, 'open', 'reopened');
}

async function setTicketState(
  options: RefOptions,
  context: Context,
  state: 'open' | 'closed',
  verb: string,
): Promise<number> {
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketHeader(referenceOf(options.ref));
    if (ticket.status === 'merged')
      throw new Failure('refused', `ticket ${ticket.ref} was merged into ${ticket.mergedInto ?? 'a deleted ticket'}`, {
        hint: 'Its messages and its state are in that ticket.',
      });
    const isChanged = await app.store.setTicketState(ticket.id, state);
    await context.terminal.line(isChanged ? `${verb} ${ticket.ref}` : `${ticket.ref} is ${state} already`);
    return 0;
  });
}

// Objects that `--json` prints: their field names are stable for scripts.

function ticketJson(ticket: TicketSummary): Record<string, unknown> {
  return {
    ref: ticket.ref,
    subject: ticket.subject,
    requester: person(ticket.requester),
    status: ticket.status,
    closed_at: isoTime(ticket.closedAtMs),
    merged_into: ticket.mergedInto,
    links: ticket.links,
    mailbox: ticket.mailbox,
    message_count: ticket.messageCount,
    created_at: isoTime(ticket.createdAtMs),
    updated_at: isoTime(ticket.updatedAtMs),
  };
}

export function messageJson(message: MessageDetails): Record<string, unknown> {
  return {
    id: message.id,
    message_id: message.messageId,
    from: message.from === null ? null : person(message.from),
    to: message.to.map(person),
    cc: message.cc.map(person),
    reply_to: message.replyTo.map(person),
    subject: message.subject,
    sent_at: isoTime(message.sentAtMs),
    received_at: isoTime(message.receivedAtMs),
    kind: message.kind,
    auto_submitted: message.autoSubmitted,
    bounce: message.bounce === null ? null : bounceJson(message.bounce, message.reportedMessageId),
    reported_message_id: message.reportedMessageId,
    thread_rule: message.threadRule,
    protection: message.protection,
    text: message.text,
    reply_text: replyTextOf(message.text, message.marks),
    marks: message.marks,
    html: message.html,
    in_reply_to: message.inReplyTo,
    references: message.references,
    attachments: message.attachments.map(attachmentJson),
  };
}

function bounceJson({ recipients, status, hard }: Bounce, original: string | null): Record<string, unknown> {
  const addresses = recipients.map(({ address }) => address);
  return { recipients: addresses, status, hard, original_message_id: original, details: recipients };
}

/** One line of `message list`, with the fields of its message if that was read. */
export function outcomeJson(row: OutcomeRow): Record<string, unknown> {
  return {
    uid: row.uid,
    uid_validity: uidValidityOf(row.folderEpoch),
    folder_generation: generationOf(row.folderEpoch),
    outcome: row.outcome,
    reason: row.reason,
    ticket: row.ticket,
    at: isoTime(row.atMs),
    resolved_at: isoTime(row.resolvedAtMs),
    size_bytes: row.sizeBytes,
    ...(row.message === null ? {} : messageJson(row.message)),
  };
}

function attachmentJson(attachment: MessageDetails['attachments'][number]): Record<string, unknown> {
  const { name, type, sizeBytes: size, sha256, contentId: content_id, inline } = attachment;
  return { name, type, size, sha256, content_id, inline };
}

function person({ name, address }: { readonly name: string; readonly address: string }): Record<string, string> {
  return { name, address };
}

/** `Name <address>`, or the address alone. */
export function personText(of: { readonly name: string; readonly address: string } | null): string {
  if (of === null) return '(unknown)';
  return of.name === '' ? of.address : `${of.name} <${of.address}>`;
}

/** Normalizes a reference as people write it: `261124-7kq3mx`, `#261124-7KQ3MX`, `[#261124-7KQ3MX]`. */
export function referenceOf(text: string): string {
  return text
    .trim()
    .replace(/^\[?#?/, '')
    .replace(/\]$/, '')
    .toUpperCase();
}

// Reply tokens that a helpdesk puts into its messages, so that replies join the ticket.

const randomByteCount = 12;
const addressForm = /^[^\s@<>,;:"]{1,64}@[^\s@<>,;:"]{1,255}$/u;
const domainForm = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9][a-z0-9-]{0,62}){0,20}$/iu;

/** Prints an address for Reply-To. Throws `not_found`, `usage`. */
export async function printReplyAddress(options: RefOptions & { address?: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketHeader(referenceOf(options.ref));
    const address = options.address ?? (await addressOf(ticket, '--address', app));
    if (!addressForm.test(address))
      throw new Failure('usage', `--address must be a mail address, not ${quoted(address)}`);
    const withToken = replyAddress(await app.replyKeys.current(), ticket.ref, address);
    if (withToken === null)
      throw new Failure('usage', `${quoted(address)} has no room for a reply token`, {
        hint: 'The local part may have 64 characters, and the token takes 31 of them: give a shorter address with --address.',
      });
    if (options.address !== undefined) await warnOfForeignAddress(address, ticket, app, context);
    await printResult(options, context, { reply_address: withToken }, withToken);
    return 0;
  });
}

/** Prints a Message-ID, another one each time. Throws `not_found`, `usage`. */
export async function printMessageId(options: RefOptions & { domain?: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketHeader(referenceOf(options.ref));
    const domain = options.domain ?? (await addressOf(ticket, '--domain', app)).split('@').at(-1) ?? '';
    if (!domainForm.test(domain)) throw new Failure('usage', `--domain must be a host name, not ${quoted(domain)}`);
    const id = replyMessageId(await app.replyKeys.current(), ticket.ref, randomBytes(randomByteCount), domain);
    await printResult(options, context, { message_id: id }, `<${id}>`);
    return 0;
  });
}

/** The first address of the ticket's mailbox. Throws `usage`. */
async function addressOf({ ref, mailbox }: TicketHeader, option: '--address' | '--domain', app: App): Promise<string> {
  const [address] = mailbox?.addresses ?? [];
  if (address !== undefined) return address;
  if (mailbox !== null)
    throw new Failure('usage', `mailbox ${mailbox.name} has no address`, {
      hint: `Give ${option}, or set its addresses: ${commandOrNotice(shellCommand('mailbox set-addresses', mailbox.name, ' ADDRESS'))}`,
    });
  const successor = await successorMailbox(ref, app);
  const [now = ''] = successor?.addresses ?? [];
  const value = option === '--address' ? now : now.slice(now.lastIndexOf('@') + 1);
  throw new Failure('usage', `the mailbox of ticket ${ref} was removed`, {
    hint:
      successor === null
        ? `Give ${option}.`
        : `Mailbox ${successor.name} gets mail for ${now}: give ${option} ${value} if it replaces the removed one.`,
  });
}

/** The only mailbox that now receives mail for a recipient of the ticket's messages; null for none or several. */
async function successorMailbox(ref: string, { store }: App): Promise<TicketHeader['mailbox']> {
  const [{ messages }, mailboxes] = [await store.ticketByRef(ref), await store.listMailboxes()];
  const recipients = new Set(
    messages.flatMap(({ to, cc }) => [...to, ...cc]).map(({ address }) => withoutSubaddress(address)),
  );
  const found = mailboxes.flatMap(({ name, addresses }) => {
    const shared = addresses.filter((address) => recipients.has(withoutSubaddress(address)));
    return shared.length === 0 ? [] : [{ name, addresses: shared }];
  });
  return found.length === 1 ? (found[0] ?? null) : null;
}

/** Replies to an address of no mailbox are lost unless it is forwarded, so a note says that. */
async function warnOfForeignAddress(
  address: string,
  { mailbox }: TicketHeader,
  app: App,
  { terminal }: Context,
): Promise<void> {
  const known = mailbox?.addresses ?? (await app.store.listMailboxes()).flatMap(({ addresses }) => addresses);
  if (known.some((one) => withoutSubaddress(one) === withoutSubaddress(address))) return;
  const whose = mailbox === null ? 'any mailbox' : `mailbox ${mailbox.name}`;
  terminal.note(
    `${address} is not an address of ${whose}: replies to it arrive here only if it is forwarded.`,
    'yellow',
  );
}
