/**
 * `ticket reply-address` and `ticket message-id`: what a helpdesk puts into the mails that it sends, so that their answers
 * find the ticket. Each prints one line, or with `--json` an object.
 */
import { randomBytes } from 'node:crypto';
import type { App } from '../compose/compose.ts';
import { Failure } from '../errors.ts';
import type { TicketPlace } from '../ingest/stores.ts';
import { replyAddress, replyMessageId, withoutPlus } from '../mail/thread/reply-token.ts';
import { commandOn, toldCommand } from '../text/shell.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { referenceOf } from './ticket-ref.ts';

type RefOptions = CommonOptions & { readonly ref: string };

const randomByteCount = 12;
const addressForm = /^[^\s@<>,;:"]{1,64}@[^\s@<>,;:"]{1,255}$/u;
const domainForm = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9][a-z0-9-]{0,62}){0,20}$/iu;

/** For Reply-To. Throws `not_found`, `usage`. */
export async function printReplyAddress(options: RefOptions & { address?: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketPlace(referenceOf(options.ref));
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
    const ticket = await app.store.ticketPlace(referenceOf(options.ref));
    const domain = options.domain ?? (await addressOf(ticket, '--domain', app)).split('@').at(-1) ?? '';
    if (!domainForm.test(domain)) throw new Failure('usage', `--domain must be a host name, not ${quoted(domain)}`);
    const id = replyMessageId(await app.store.replyKey(), ticket.ref, randomBytes(randomByteCount), domain);
    await print(options, context, { message_id: id }, `<${id}>`);
    return 0;
  });
}

/** The first address of its mailbox. */
async function addressOf({ ref, mailbox }: TicketPlace, option: '--address' | '--domain', app: App): Promise<string> {
  const [address] = mailbox?.addresses ?? [];
  if (address !== undefined) return address;
  if (mailbox !== null)
    throw new Failure('usage', `mailbox ${mailbox.name} has no address`, {
      hint: `Give ${option}; or tell which it has: ${toldCommand(commandOn('mailbox set-addresses', mailbox.name, ' ADDRESS'))}`,
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
async function heirOf(ref: string, { store }: App): Promise<TicketPlace['mailbox']> {
  const [{ messages }, mailboxes] = [await store.ticketByRef(ref), await store.listMailboxes()];
  const written = new Set(messages.flatMap(({ to, cc }) => [...to, ...cc]).map(({ address }) => withoutPlus(address)));
  const found = mailboxes.flatMap(({ name, addresses }) => {
    const shared = addresses.filter((address) => written.has(withoutPlus(address)));
    return shared.length === 0 ? [] : [{ name, addresses: shared }];
  });
  return found.length === 1 ? (found[0] ?? null) : null;
}

/** An address of nobody's takes the answers elsewhere: that is told, and left to whoever asked. */
async function warnOfForeign(
  address: string,
  { mailbox }: TicketPlace,
  app: App,
  { terminal }: Context,
): Promise<void> {
  const ours = mailbox?.addresses ?? (await app.store.listMailboxes()).flatMap(({ addresses }) => addresses);
  if (ours.some((one) => withoutPlus(one) === withoutPlus(address))) return;
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
