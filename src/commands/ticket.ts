/**
 * `ticket show`: one ticket with its messages, oldest first.
 */

import { randomBytes } from 'node:crypto';
import type { App } from '../compose/compose.ts';
import { Failure } from '../errors.ts';
import { generationOf, uidValidityOf } from '../ingest/folder-epoch.ts';
import type { MessageDetails, OutcomeRow, TicketLinkView, TicketSummary } from '../ingest/model.ts';
import type { TicketHeader } from '../ingest/stores.ts';
import type { Bounce } from '../mail/message.ts';
import { replyTextOf } from '../mail/quote/quote.ts';
import { replyAddress, replyMessageId, withoutSubaddress } from '../mail/thread/reply-token.ts';
import { commandOrNotice, shellCommand } from '../text/shell.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';

/** Throws `not_found`. */
export async function showTicket(options: CommonOptions & { ref: string }, context: Context): Promise<number> {
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
    for (const message of ticket.messages) await showMessage(message, context);
    return 0;
  });
}

/** As a sentence about the ticket that is shown. */
const linkWords: Readonly<Record<TicketLinkView['reason'], Readonly<Record<TicketLinkView['direction'], string>>>> = {
  forward: { to: 'opened by a forward of mail in', from: 'mail of it was forwarded into' },
  mentions: { to: 'mentions', from: 'is mentioned by' },
  continues: { to: 'continues the closed', from: 'was closed, and goes on as' },
  same_message: { to: 'was opened by the same mail as', from: 'was opened by the same mail as' },
  merged: { to: 'went into', from: 'took in' },
};

function linkText({ ticket, reason, direction }: TicketLinkView): string {
  return `${linkWords[reason]?.[direction] ?? `has to do (${reason}) with`} ${ticket}`;
}

const protectionWords: Readonly<Record<string, string>> = {
  smime_signed: 'signed (S/MIME)',
  smime_encrypted: 'encrypted (S/MIME)',
  pgp_signed: 'signed (PGP)',
  pgp_encrypted: 'encrypted (PGP)',
};

async function showMessage(message: MessageDetails, { terminal }: Context): Promise<void> {
  await terminal.line('');
  const { kind, threadRule, protection } = message;
  const known = [...(kind === 'human' ? [] : [kind]), ...(threadRule === null ? [] : [threadRule])];
  const whatItIs = known.length === 0 ? '' : ` (${known.join(', ')})`;
  await terminal.line(`${shortTime(message.receivedAtMs)}  ${personText(message.from)}${whatItIs}`, 'bold');
  if (message.to.length > 0) await terminal.line(`to ${message.to.map(personText).join(', ')}`);
  if (protection !== null) await terminal.line(protectionWords[protection] ?? protection);
  await terminal.line(message.subject);
  await terminal.line('');
  const text = message.text.trimEnd();
  const isSealed = text === '' && protection !== null && protection.endsWith('_encrypted');
  await terminal.text(isSealed ? '(encrypted: only those whom it was sent to can read it)' : text);
  for (const { name, type, sizeBytes } of message.attachments)
    await terminal.line(`attachment: ${name} (${type}, ${sizeBytes} bytes)`);
}

/**
 * `ticket list`: tickets, newest first.
 */

const columns = [
  { title: 'REF' },
  { title: 'STATUS' },
  { title: 'MESSAGES', align: 'right' as const },
  { title: 'UPDATED (UTC)' },
  { title: 'MAILBOX', shrinks: true },
  { title: 'REQUESTER', shrinks: true },
  { title: 'SUBJECT', shrinks: true },
];

const limitForPeople = 50;
const limitMax = 2_147_483_647;

/** Scripts (`--json`) get all tickets, people the newest, unless told a limit. Throws `usage`. */
export async function listTickets(options: CommonOptions & { limit?: string }, context: Context): Promise<number> {
  const { terminal } = context;
  const limit = readLimit(options.limit) ?? (options.json === true ? limitMax : limitForPeople);
  return await withApp(options, context, async (app) => {
    const tickets = await app.store.listTickets(limit);
    if (options.json === true) for (const ticket of tickets) await terminal.json(ticketJson(ticket));
    else if (tickets.length === 0) terminal.note('There is no ticket yet.');
    else await terminal.table(columns, tickets.map(row));
    const more = options.json !== true && options.limit === undefined && tickets.length === limit;
    if (more) terminal.note(`These are the newest ${limit}; --limit shows more.`);
    return 0;
  });
}

function readLimit(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new Failure('usage', `--limit must be a whole number from 1 to 999999999, not ${JSON.stringify(text)}`);
}

function row(ticket: TicketSummary): readonly string[] {
  const { ref, status, messageCount, updatedAtMs, mailbox, requester, subject } = ticket;
  return [
    ref,
    status,
    `${messageCount}`,
    shortTime(updatedAtMs),
    mailbox ?? '(removed)',
    personText(requester),
    subject,
  ];
}

/**
 * `ticket close` and `ticket reopen`: what a helpdesk may also do itself, in the columns `status` and `closed_at`.
 */

type RefOptions = CommonOptions & { readonly ref: string };

/** An answer of a person opens it again (`[tickets] reopen_days`). Throws `not_found`, `refused`. */
export function closeTicket(options: RefOptions, context: Context): Promise<number> {
  return setState(options, context, 'closed', 'closed');
}

/** Throws `not_found`, `refused`. */
export function reopenTicket(options: RefOptions, context: Context): Promise<number> {
  return setState(options, context, 'open', 'reopened');
}

async function setState(
  options: RefOptions,
  context: Context,
  state: 'open' | 'closed',
  told: string,
): Promise<number> {
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketHeader(referenceOf(options.ref));
    if (ticket.status === 'merged')
      throw new Failure(
        'refused',
        `ticket ${ticket.ref} was merged into ${ticket.mergedInto ?? 'a ticket that is gone'}`,
        {
          hint: 'Its mails are there, and so is its state.',
        },
      );
    const isChanged = await app.store.setTicketState(ticket.id, state);
    await context.terminal.line(isChanged ? `${told} ${ticket.ref}` : `${ticket.ref} is ${state} already`);
    return 0;
  });
}

/**
 * Tickets and messages as `--json` prints them: the field names are a promise to scripts.
 */

export function ticketJson(ticket: TicketSummary): Record<string, unknown> {
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

/** One line of `message list`; the fields of the message follow where one is stored and was asked for. */
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

/** `Name <address>`, or what there is of it. */
export function personText(of: { readonly name: string; readonly address: string } | null): string {
  if (of === null) return '(nobody)';
  return of.name === '' ? of.address : `${of.name} <${of.address}>`;
}

/** A ticket's reference as people write it: `261124-7kq3mx`, `#261124-7KQ3MX`, `[#261124-7KQ3MX]`. */

export function referenceOf(text: string): string {
  return text
    .trim()
    .replace(/^\[?#?/, '')
    .replace(/\]$/, '')
    .toUpperCase();
}

/**
 * `ticket reply-address` and `ticket message-id`: what a helpdesk puts into the mails that it sends, so that their answers
 * find the ticket. Each prints one line, or with `--json` an object.
 */

const randomByteCount = 12;
const addressForm = /^[^\s@<>,;:"]{1,64}@[^\s@<>,;:"]{1,255}$/u;
const domainForm = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9][a-z0-9-]{0,62}){0,20}$/iu;

/** For Reply-To. Throws `not_found`, `usage`. */
export async function printReplyAddress(options: RefOptions & { address?: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketHeader(referenceOf(options.ref));
    const address = options.address ?? (await addressOf(ticket, '--address', app));
    if (!addressForm.test(address))
      throw new Failure('usage', `--address must be a mail address, not ${quoted(address)}`);
    const made = replyAddress(await app.store.replyKey(), ticket.ref, address);
    if (made === null)
      throw new Failure('usage', `${quoted(address)} has no room for a reply token`, {
        hint: 'What stands before the @ may have 64 characters, and the token takes 31 of them: give a shorter address with --address.',
      });
    if (options.address !== undefined) await warnOfForeign(address, ticket, app, context);
    await print(options, context, { reply_address: made }, made);
    return 0;
  });
}

/** For Message-ID, another one each time. Throws `not_found`, `usage`. */
export async function printMessageId(options: RefOptions & { domain?: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketHeader(referenceOf(options.ref));
    const domain = options.domain ?? (await addressOf(ticket, '--domain', app)).split('@').at(-1) ?? '';
    if (!domainForm.test(domain)) throw new Failure('usage', `--domain must be a host name, not ${quoted(domain)}`);
    const id = replyMessageId(await app.store.replyKey(), ticket.ref, randomBytes(randomByteCount), domain);
    await print(options, context, { message_id: id }, `<${id}>`);
    return 0;
  });
}

/** The first address of its mailbox. */
async function addressOf({ ref, mailbox }: TicketHeader, option: '--address' | '--domain', app: App): Promise<string> {
  const [address] = mailbox?.addresses ?? [];
  if (address !== undefined) return address;
  if (mailbox !== null)
    throw new Failure('usage', `mailbox ${mailbox.name} has no address`, {
      hint: `Give ${option}; or tell which it has: ${commandOrNotice(shellCommand('mailbox set-addresses', mailbox.name, ' ADDRESS'))}`,
    });
  const heir = await heirOf(ref, app);
  const [now = ''] = heir?.addresses ?? [];
  const value = option === '--address' ? now : now.slice(now.lastIndexOf('@') + 1);
  throw new Failure('usage', `the mailbox of ticket ${ref} was removed`, {
    hint:
      heir === null
        ? `Give ${option}.`
        : `Mailbox ${heir.name} gets mail for ${now}: give ${option} ${value} if it took over.`,
  });
}

/** The one mailbox that now gets mail for an address which mails of the ticket went to; null for none, or several. */
async function heirOf(ref: string, { store }: App): Promise<TicketHeader['mailbox']> {
  const [{ messages }, mailboxes] = [await store.ticketByRef(ref), await store.listMailboxes()];
  const written = new Set(
    messages.flatMap(({ to, cc }) => [...to, ...cc]).map(({ address }) => withoutSubaddress(address)),
  );
  const found = mailboxes.flatMap(({ name, addresses }) => {
    const shared = addresses.filter((address) => written.has(withoutSubaddress(address)));
    return shared.length === 0 ? [] : [{ name, addresses: shared }];
  });
  return found.length === 1 ? (found[0] ?? null) : null;
}

/** An address of nobody's takes the answers elsewhere: that is told, and left to whoever asked. */
async function warnOfForeign(
  address: string,
  { mailbox }: TicketHeader,
  app: App,
  { terminal }: Context,
): Promise<void> {
  const ours = mailbox?.addresses ?? (await app.store.listMailboxes()).flatMap(({ addresses }) => addresses);
  if (ours.some((one) => withoutSubaddress(one) === withoutSubaddress(address))) return;
  const whose = mailbox === null ? 'any mailbox' : `mailbox ${mailbox.name}`;
  terminal.note(`${address} is no address of ${whose}: answers to it get here only if it is forwarded.`, 'yellow');
}

async function print(
  { json }: CommonOptions,
  { terminal }: Context,
  fields: Record<string, unknown>,
  text: string,
): Promise<void> {
  if (json === true) await terminal.json(fields);
  else await terminal.line(text);
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
