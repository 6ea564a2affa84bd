/**
 * `ticket show`: one ticket with its messages, oldest first.
 */
import type { ShownLink, StoredMessage } from '../ingest/model.ts';
import { shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { referenceOf } from './ticket-ref.ts';
import { messageJson, personText, ticketJson } from './ticket-view.ts';

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
const linkWords: Readonly<Record<ShownLink['reason'], Readonly<Record<ShownLink['direction'], string>>>> = {
  forward: { to: 'opened by a forward of mail in', from: 'mail of it was forwarded into' },
  mentions: { to: 'mentions', from: 'is mentioned by' },
  continues: { to: 'continues the closed', from: 'was closed, and goes on as' },
  same_message: { to: 'was opened by the same mail as', from: 'was opened by the same mail as' },
  merged: { to: 'went into', from: 'took in' },
};

function linkText({ ticket, reason, direction }: ShownLink): string {
  return `${linkWords[reason]?.[direction] ?? `has to do (${reason}) with`} ${ticket}`;
}

const protectionWords: Readonly<Record<string, string>> = {
  smime_signed: 'signed (S/MIME)',
  smime_encrypted: 'encrypted (S/MIME)',
  pgp_signed: 'signed (PGP)',
  pgp_encrypted: 'encrypted (PGP)',
};

async function showMessage(message: StoredMessage, { terminal }: Context): Promise<void> {
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
